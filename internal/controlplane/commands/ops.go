package commands

import (
	"encoding/json"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/ssm"
)

// Ops are the operators' operations.
func (s *Service) Ops() api.Ops {
	allow := []api.Kind{api.Operator}
	return api.Ops{
		"AmazonSSM.SendCommand":            {Allow: allow, Handle: api.Strict(s.SendCommand)},
		"AmazonSSM.CancelCommand":          {Allow: allow, Handle: api.Strict(s.CancelCommand)},
		"AmazonSSM.ListCommands":           {Allow: allow, Handle: api.Strict(s.ListCommands)},
		"AmazonSSM.ListCommandInvocations": {Allow: allow, Handle: api.Strict(s.ListCommandInvocations)},
		"AmazonSSM.GetCommandInvocation":   {Allow: allow, Handle: api.Strict(s.GetCommandInvocation)},
	}
}

// refuseNotices refuses the members of SendCommand that need services which
// are not here.
func refuseNotices(in ssm.SendCommandInput) *api.Error {
	given := func(m json.RawMessage) bool { return len(m) > 0 && string(m) != "null" }
	switch {
	case given(in.NotificationConfig):
		return api.Errorf("InvalidNotificationConfig", "this control plane has no SNS and sends no notifications: leave NotificationConfig out")
	case in.ServiceRoleArn != "":
		return api.Errorf("InvalidRole", "this control plane has no SNS that a role could publish to: leave ServiceRoleArn out")
	case given(in.AlarmConfiguration):
		return api.Errorf(api.CodeValidation, "this control plane has no CloudWatch alarms: leave AlarmConfiguration out")
	}
	return nil
}
