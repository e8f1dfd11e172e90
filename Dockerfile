# An image that builds ssmagent, from a checkout that is given as a volume:
#
#	docker build -t ssm-agent-build-image .
#	docker run -it --rm --name ssm-agent-build-container -v `pwd`:/amazon-ssm-agent ssm-agent-build-image make build-release
#
# What it makes lies in bin/ of the checkout.
FROM golang:1.26-bookworm

# Beyond Go: git says what commit is built, wixl and msitools make the MSIs,
# osslsigncode signs them, the rest is what unit tests run.
RUN apt-get update \
	&& apt-get install -y --no-install-recommends bsdextrautils ca-certificates git iproute2 make msitools osslsigncode procps sudo wixl \
	&& rm -rf /var/lib/apt/lists/*

# The checkout belongs to somebody else than the container's root.
RUN git config --system --add safe.directory /amazon-ssm-agent

WORKDIR /amazon-ssm-agent
CMD ["make", "build-release"]
