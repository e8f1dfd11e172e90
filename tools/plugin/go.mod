// The official Session Manager plugin as a client for the end-to-end tests;
// nothing of the product depends on this module.
module ssmagent/tools/plugin

go 1.26.0

require (
	github.com/aws/session-manager-plugin v0.0.0-20260401221635-b79d06c1d3a2
	github.com/aws/aws-sdk-go-v2 v1.41.5
	github.com/aws/aws-sdk-go-v2/config v1.32.0
	github.com/aws/aws-sdk-go-v2/service/ssm v1.67.0
	github.com/aws/aws-sdk-go-v2/service/kms v1.49.0
	github.com/twinj/uuid v0.0.0-20151029044442-89173bcdda19
	github.com/cihub/seelog v0.0.0-20170130134532-f561c5e57575
	github.com/gorilla/websocket v1.5.3
	github.com/xtaci/smux v1.5.58
	github.com/fsnotify/fsnotify v1.10.1
	github.com/stretchr/testify v1.12.1
	golang.org/x/crypto v0.58.0
	golang.org/x/term v0.47.0
	golang.org/x/sync v0.24.0
)
