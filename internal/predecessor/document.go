package predecessor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
)

// The stock agent's types of documents, in its own spelling.
const (
	sendCommand    = "SendCommand"
	cancelCommand  = "CancelComamnd"
	offlineCommand = "SendCommandOffline"

	pollService = "MessageDeliveryService"
)

// What the people who sent a command are told.
const (
	cutOff   = "interrupted by the replacement of the stock agent: how this step ended is not known, its processes are left alone, and it is not run again"
	notBegun = "the stock agent was replaced before this command began: it was not run; send it again"
)

const maxSteps = 1000

// document is a state file of the stock agent, as far as it is needed.
type document struct {
	DocumentInformation        information
	DocumentType               string
	InstancePluginsInformation []plugin
	UpstreamServiceName        string
}

type information struct {
	DocumentID, MessageID, DocumentName, CreatedDate string
	ProcInfo                                         struct{ Pid int }
}

// created is when the command was sent; the zero time when nobody knows.
func (i information) created() time.Time {
	t, _ := time.Parse(time.RFC3339, i.CreatedDate)
	return t.UTC()
}

// plugin is a step with what is known of its end.
type plugin struct {
	Name, Id string
	Result   result
}

// result is what a step came to.
type result struct {
	PluginID           string
	PluginName         string
	Status             doc.Status
	Code               int
	Output             any // text, of all that scripts run
	StartDateTime      string
	EndDateTime        string
	OutputS3BucketName string
	OutputS3KeyPrefix  string
	Error              string
	StandardOutput     string
	StandardError      string
}

var errDocument = errors.New("no document of the stock agent")

// parseDocument reads the state file called name.
func parseDocument(b []byte, name string) (document, error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return document{}, fmt.Errorf("%w: %w", errDocument, err)
	}
	info := d.DocumentInformation
	switch d.DocumentType {
	case sendCommand:
		id, err := doc.CommandID(info.MessageID)
		if err != nil {
			return document{}, fmt.Errorf("%w: %w", errDocument, err)
		}
		if id != name || info.DocumentID != name {
			return document{}, fmt.Errorf("%w: it is called %.140q and is of command %.140q", errDocument, name, id)
		}
	case offlineCommand:
		if info.DocumentID != name || !doc.ValidID(name) {
			return document{}, fmt.Errorf("%w: it is called %.140q and is of command %.140q", errDocument, name, info.DocumentID)
		}
	default:
		return d, nil
	}
	if n := len(d.InstancePluginsInformation); n == 0 || n > maxSteps {
		return document{}, fmt.Errorf("%w: it has %d steps; 1 to %d are possible", errDocument, n, maxSteps)
	}
	return d, nil
}

// channel is the one that the command came by, which gets the replies.
func (d document) channel() string {
	if d.UpstreamServiceName == pollService {
		return job.ChannelMDS
	}
	return job.ChannelMGS
}

// outcome are the results up to the step that is lost with the agent, which is
// the last of them. When none is, the command had come to its end.
func (d document) outcome(folder string) (results []doc.Result, lost bool) {
	for _, p := range d.InstancePluginsInformation {
		r := p.Result.result(p.Id, p.Name)
		if !r.Status.Terminal() {
			r.Status, r.Error = doc.Failed, cutOff
			if folder == waiting {
				r.Error = notBegun
			}
			r.StandardError = doc.TruncateStream(r.StandardError + r.Error + "\n") // some clients show this alone
			return append(results, r), true
		}
		results = append(results, r)
	}
	return results, false
}

// result is ours, with the bounds of ours.
func (r result) result(id, action string) doc.Result {
	start, _ := time.Parse(time.RFC3339, r.StartDateTime) // unknown is the zero time, on the wire too
	end, _ := time.Parse(time.RFC3339, r.EndDateTime)
	output, _ := r.Output.(string)
	return doc.Result{
		ID: clip(id), Action: clip(action), Status: r.Status, Code: r.Code, Start: start, End: end,
		Output: doc.TruncateOutput(output, ""), StandardOutput: doc.TruncateStream(r.StandardOutput), StandardError: doc.TruncateStream(r.StandardError),
		Error: doc.TruncateOutput(r.Error, ""), S3Bucket: clip(r.OutputS3BucketName), S3KeyPrefix: clip(r.OutputS3KeyPrefix),
	}
}

// clip bounds a name.
func clip(s string) string { return s[:min(len(s), 1024)] }
