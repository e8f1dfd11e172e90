package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/services"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform/secfile"
)

// api is Systems Manager with one document and one parameter.
func api(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIANODE/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ssm/") {
			w.WriteHeader(http.StatusForbidden)
		}
		switch op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM."); op {
		case "GetDocument":
			var in ssm.GetDocumentInput
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			switch in.Name {
			case "mine":
				_ = json.NewEncoder(w).Encode(ssm.GetDocumentOutput{Name: in.Name, Content: "version " + in.DocumentVersion})
			case "empty":
				fmt.Fprint(w, `{"Content":" "}`)
			default:
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"__type":"InvalidDocument","message":"there is none"}`)
			}
		case "GetParameters":
			var in ssm.GetParametersInput
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			if !slices.Equal(in.Names, []string{"secret"}) || !in.WithDecryption {
				t.Errorf("%+v", in)
			}
			fmt.Fprint(w, `{"Parameters":[{"Name":"secret","Type":"SecureString","Value":"open"}]}`)
		default:
			t.Errorf("%s was called", op)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func node(endpoint string) *services.Services {
	return services.New(services.Options{
		Node: job.Services{SSM: endpoint, SSMRegion: "eu-west-1", UserAgent: "test"}, FS: secfile.ForUser(), Clock: clock.Real{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIANODE", SecretAccessKey: "s", SessionToken: "t"}, nil
		}),
	})
}

func TestDocument(t *testing.T) {
	t.Parallel()
	s := node(api(t).URL)
	if b, err := s.Document(t.Context(), "mine", "7"); err != nil || string(b) != "version 7" {
		t.Errorf("%s %v", b, err)
	}
	for name, want := range map[string]string{"other": "InvalidDocument", "empty": "has no content"} {
		if b, err := s.Document(t.Context(), name, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s %v", name, b, err)
		}
	}
	if _, err := node("").Document(t.Context(), "mine", ""); err == nil || !strings.Contains(err.Error(), "send the command again") {
		t.Error(err)
	}
}

// TestParameters: the store's calls go the same way.
func TestParameters(t *testing.T) {
	t.Parallel()
	if v, err := node(api(t).URL).Parameters().Secret(t.Context(), "ssm-secure:secret"); err != nil || v != "open" {
		t.Errorf("%q %v", v, err)
	}
}

// TestNothingIsOpenedBeforeACall: a script's worker must not pay for what only
// other steps need.
func TestNothingIsOpenedBeforeACall(t *testing.T) {
	t.Parallel()
	asked := false
	s := services.New(services.Options{Node: job.Services{SSM: "http://127.0.0.1:1", CABundle: "/no/such/file"}, FS: secfile.ForUser(), Clock: clock.Real{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			asked = true
			return aws.Credentials{}, errors.New("none")
		})})
	if _, err := s.HTTP(); err == nil || !strings.Contains(err.Error(), "CABundle") || asked {
		t.Errorf("%v, credentials asked for: %v", err, asked)
	}
}
