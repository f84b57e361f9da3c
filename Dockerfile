# The gateway and its commands as one static binary, without a shell or a package around it.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /postern ./cmd/postern

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /postern /postern
# Nobody in particular, by number: there is no user database in here.
USER 65532:65532
ENV GOTRUE_API_HOST=0.0.0.0 PORT=9999
EXPOSE 9999
# Asks /health on the port above.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/postern", "health"]
ENTRYPOINT ["/postern"]
CMD ["serve"]
