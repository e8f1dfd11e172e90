package worker

import (
	"bytes"
	"context"
	"fmt"

	"ssmagent/internal/session/channel"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/proc"
)

// Exit codes of a command that could not be started: the stock agent's, and
// towards our clients the shells'.
const (
	notStarted     = 1
	notStartedOurs = 127
)

// command is a program without a terminal.
type command struct {
	held
	prop mgs.CommandProperty
	// failed is why it cannot be started, for the client to be told first.
	failed error

	streams bool // the client passes standard input, and takes what is printed apart
	apart   bool // standard output and standard error are told apart
	begun   [2]bool
	fresh   [2]bool // what was printed ended with a line's end
}

func (p *command) prepare(life context.Context) (err error) {
	if p.prop, err = p.req.Command(); err != nil {
		return err
	}
	p.failed = p.start(life)
	return nil
}

func (p *command) serve(ctx, life context.Context, g channel.Greeting) error {
	p.streams = g.Peer.Streams
	p.apart = p.streams || bool(p.prop.SeparateOutputStream)
	p.spec.Pipes = &terminal.Pipes{Input: p.streams, Merged: !p.apart}
	if p.failed == nil {
		p.failed = p.open(life)
	}
	if p.failed != nil {
		return p.refuse(life, p.failed)
	}
	exit, over, err := p.attend(ctx, life, p.print, p.input)
	p.traces.copied(p.spec.Args, over || err != nil || exit.Code != 0)
	switch {
	case over:
		return err
	case err != nil:
		return p.refuse(life, err)
	}
	p.finish(life, g.Peer.Ours, exit)
	return nil
}

// finish tells the end. Stock clients print the code, so it is for those only
// that asked for it with separateOutputStream.
func (p *command) finish(life context.Context, ours bool, exit mgs.Exit) {
	var told *mgs.Exit
	switch {
	case ours:
		told = &exit
	case p.apart:
		told = &mgs.Exit{Code: exit.Code}
	}
	p.ch.Finish(life, told)
	p.farewell(life)
}

// refuse tells the client why its command does not run; the service learns it
// as the session's outcome. Towards stock clients the code comes first, as from
// stock agents.
func (p *command) refuse(life context.Context, cause error) error {
	err := fmt.Errorf("%s: %w", unableToStart, cause)
	text := []byte(err.Error() + "\n")
	if p.streams {
		if p.ch.WriteAs(life, mgs.PayloadStdErr, text) == nil {
			p.finish(life, true, mgs.Exit{Code: notStartedOurs})
		}
		return err
	}
	if p.apart {
		_ = p.ch.WriteAs(life, mgs.PayloadExitCode, mgs.FormatExitCode(notStarted))
	}
	if p.ch.WriteAs(life, mgs.PayloadStdErr, text) == nil {
		p.ch.Finish(life, nil)
		p.farewell(life)
	}
	return err
}

// print hands on what the command prints until its end.
func (p *command) print(life context.Context) {
	lost := false
	for {
		b, isError, err := p.proc.ReadEither()
		if err != nil {
			return
		}
		p.kept.Write(b)
		if len(b) > 0 && !lost {
			lost = p.emit(life, b, isError) != nil
		}
	}
}

// emit sends what was printed. The document's prefix goes before the first of
// it, and before what follows a line's end.
func (p *command) emit(life context.Context, b []byte, isError bool) error {
	kind, prefix, i := uint32(mgs.PayloadOutput), p.prop.StdOutSeparatorPrefix, 0
	if isError {
		kind, prefix, i = mgs.PayloadStdErr, p.prop.StdErrSeparatorPrefix, 1
	}
	if bool(p.prop.SeparateOutputStream) && prefix != "" && (!p.begun[i] || p.fresh[i]) {
		if err := p.ch.WriteAs(life, kind, []byte(prefix)); err != nil {
			return err
		}
	}
	p.traces.sent(b)
	p.begun[i], p.fresh[i] = true, bytes.HasSuffix(b, []byte("\n"))
	return p.ch.WriteAs(life, kind, b)
}

// input takes what the client sends.
func (p *command) input(life context.Context) {
	for {
		in, err := p.ch.Next(life)
		if err != nil || p.take(in) != nil {
			return
		}
	}
}

// byteQuit is by what stock clients tell ^\; ^C is 0x03.
const byteQuit = 0x1c

func (p *command) take(in channel.Payload) error {
	if in.Type == mgs.PayloadOutput {
		p.traces.received(len(in.Bytes))
	}
	switch {
	case in.Type == mgs.PayloadFlag && p.streams:
		return p.flag(in.Bytes)
	case in.Type != mgs.PayloadOutput:
		return nil
	case p.streams:
		return p.proc.Type(in.Bytes)
	}
	i := bytes.IndexAny(in.Bytes, "\x03\x1c")
	switch {
	case i < 0:
		return nil // stock agents give commands no input
	case in.Bytes[i] == byteQuit:
		return p.proc.Signal(proc.Quit)
	}
	return p.proc.Signal(proc.Interrupt)
}

// flag does what a client of ours wants.
func (p *command) flag(payload []byte) error {
	f, err := mgs.DecodeFlag(payload)
	if err != nil {
		return nil // of nobody that we know
	}
	switch f {
	case mgs.FlagInputEnd:
		return p.proc.EndInput()
	case mgs.FlagInterrupt:
		return p.proc.Signal(proc.Interrupt)
	case mgs.FlagQuit:
		return p.proc.Signal(proc.Quit)
	}
	return nil
}
