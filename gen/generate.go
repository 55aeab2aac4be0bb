// Package gen is the server's side of openapi.yaml, generated: the strict
// server interface, its routes and the models. The client is in gen/client.
//
// Nothing here is edited by hand. The *.cfg.yaml files configure the generator. The
// *.overlay.yaml files hide parts of the document from it.
package gen

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config api.cfg.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config client.cfg.yaml -o client/client.gen.go ../openapi.yaml
//go:generate go run -C overlay . ../openapi.it.overlay.yaml ../../openapi.yaml ../openapi.it.yaml

import _ "embed"

// Italian is openapi.yaml with its texts in Italian.
//
//go:embed openapi.it.yaml
var Italian []byte
