// Package gen is the server's side of openapi.yaml, generated: the strict
// server interface, its routes and the models. The client is in gen/client.
//
// Nothing here is edited. What the generator is told stands in the *.cfg.yaml
// files, and what it is not shown of the document in the *.overlay.yaml files.
package gen

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config api.cfg.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config client.cfg.yaml -o client/client.gen.go ../openapi.yaml
//go:generate go run ./overlay ../openapi.it.overlay.yaml ../openapi.yaml openapi.it.yaml

import _ "embed"

// Italian is openapi.yaml with its texts in Italian.
//
//go:embed openapi.it.yaml
var Italian []byte
