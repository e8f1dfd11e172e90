// Package e2e has tests only: the real binaries against each other over real
// sockets, driven by the stock AWS CLI, the AWS SDK and our own client.
package e2e
