resource "kong_plugin" "callout" {
  name = "request-callout"
}
