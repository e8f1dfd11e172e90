package auth

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/ssm"
)

// headerKeyProof carries, beside an ordinary signature, an EC2 node's proof
// that it holds the key it registered: RSA-PSS over the Authorization value.
const headerKeyProof = "SSM-AsymmetricKeyAuthorization"

// keyProof turns an operator into the EC2 node whose key proves itself; the
// node is named by the body's Fingerprint, which on EC2 is the instance id.
func (v *Verifier) keyProof(c api.Caller, r *http.Request, body []byte) (api.Caller, *api.Error) {
	var in ssm.RequestManagedInstanceRoleTokenInput
	if err := json.Unmarshal(body, &in); err != nil || !strings.HasPrefix(in.Fingerprint, "i-") {
		return api.Caller{}, refuse(api.CodeAccessDenied, "%s comes without the Fingerprint of an EC2 node", headerKeyProof)
	}
	text, ok, err := v.opt.PublicKey(in.Fingerprint)
	if err != nil || !ok {
		return api.Caller{}, gone(in.Fingerprint, err)
	}
	pub, err := sigv4.DecodePublicKey(text)
	if err != nil {
		return api.Caller{}, internal(fmt.Errorf("stored key of %s: %w", in.Fingerprint, err))
	}
	value, _ := strings.CutPrefix(r.Header.Get(headerKeyProof), "Signature=")
	proof, err := base64.StdEncoding.DecodeString(value)
	sum := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	if err != nil || rsa.VerifyPSS(pub, crypto.SHA256, sum[:], proof, &rsa.PSSOptions{SaltLength: 32}) != nil {
		return api.Caller{}, mismatch("the registration key")
	}
	c.Kind, c.InstanceID = api.NodeKey, in.Fingerprint
	return c, nil
}
