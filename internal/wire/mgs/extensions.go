package mgs

import "encoding/json"

// Bounds of Extension.MaxPayload in bytes.
const (
	MinExtensionPayload = 1024
	MaxExtensionPayload = 256 << 10
	// LargePayload is what our own agent and client announce and use: each frame
	// costs an acknowledgement and a turn of every process on its way.
	LargePayload = 64 << 10
	// StockPayload is what port sessions send stock clients where nothing on the
	// way is known to mind.
	StockPayload = 32 << 10
)

// Extension is what our agent and our client tell each other in the Extensions
// member of the handshake, as {"ssmagent":{"maxPayload":65536}}. The contract:
//
//   - Our agent puts it into every HandshakeRequest; our client puts its own
//     into the HandshakeResponse when, and only when, the request had one.
//   - From then on each side may send payloads of up to the other's MaxPayload.
//   - In a session with a terminal the client's message right after the
//     HandshakeResponse is the Size; it does not wait for HandshakeComplete,
//     and the agent keeps what comes in between. Input comes after
//     HandshakeComplete, as ever.
//   - The client takes PayloadExitCode in every session with a program: the
//     agent sends it, once, after the last output, with the signal if one ended
//     the program (Exit).
//
// The other members are offers: what the agent says in the request holds if the
// client says it in the response too, and not otherwise.
type Extension struct {
	MaxPayload int `json:"maxPayload,omitempty"` // bytes
	// Streams, in sessions of type NonInteractiveCommands: the client's payloads
	// of type PayloadOutput are the command's standard input, which FlagInputEnd
	// ends; FlagInterrupt and FlagQuit are its signals. Output is standard
	// output, PayloadStdErr standard error, whatever the document says of
	// separateOutputStream, and PayloadExitCode comes last. Without it input is
	// looked through for ^C and ^\ and thrown away, as stock agents do.
	Streams bool `json:"streams,omitempty"`
	// Mux, in multiplexed sessions of type Port, is the version of the smux
	// protocol: 2 has windows per connection, so that one that stands still
	// does not stop the others, and halves that close for themselves. 0 is 1,
	// what stock programs speak.
	Mux int `json:"mux,omitempty"`
}

// MuxWindows is the Mux of our own agent and client.
const MuxWindows = 2

type extensions struct {
	SSMAgent *Extension `json:"ssmagent,omitempty"`
}

// EncodeExtension returns the Extensions member that carries e.
func EncodeExtension(e Extension) (json.RawMessage, error) {
	return json.Marshal(extensions{&e})
}

// DecodeExtension reads an Extensions member. It says false when the peer is
// not ours. A MaxPayload out of bounds is brought into them, so that a peer
// can only ever ask for less.
func DecodeExtension(raw json.RawMessage) (Extension, bool) {
	var x extensions
	if len(raw) == 0 || json.Unmarshal(raw, &x) != nil || x.SSMAgent == nil {
		return Extension{}, false
	}
	x.SSMAgent.MaxPayload = min(max(x.SSMAgent.MaxPayload, MinExtensionPayload), MaxExtensionPayload)
	return *x.SSMAgent, true
}
