// SPDX-License-Identifier: Apache-2.0
// Which headers pass the proxy, in both directions.
#pragma once
#include <string>
#include <string_view>

#include "net/http.h"

namespace lodestar::proxy {

// Headers that steer routing inside a cluster: a client's copies never reach an
// engine and never count. (Ours, the Envoy endpoint picker's, AIBrix's, llm-d's and
// vLLM's.) Names in lower case; a trailing '*' stands for any ending.
inline constexpr std::string_view kInternalHeaders[] = {
    "x-lodestar-*",
    "routing-strategy",               // the policy override: read, then removed
    "target-pod",                     // AIBrix
    "external-filter",                // AIBrix
    "x-gateway-*",                    // endpoint picker: destination, model name rewrite
    "x-data-parallel-rank",           // vLLM: picks a rank inside the engine
    "x-data-parallel-host-port",      // llm-d
    "x-prefiller-host-port",          // llm-d
    "x-prefiller-hosts-ports",        // llm-d
    "x-encoder-hosts-ports",          // llm-d
    "x-decoder-host-port",            // llm-d
    "endpoint-load-metrics-format",   // ORCA: its answer would name the load
};
bool is_internal_header(std::string_view name);

// The client's head as the engine gets it: same method, target and headers, less
// what belongs to the connection, Host, Accept-Encoding (a compressed stream cannot be
// observed) and the internal headers. X-Request-Id is set to `request_id`.
net::RequestHead upstream_head(const net::RequestHead& client, const std::string& request_id);

// The engine's headers as the client gets them; X-Request-Id is added when absent.
net::Headers client_headers(const net::Headers& upstream, const std::string& request_id);

// Equal without telling by its time how much of a secret was right.
bool equal_secret(std::string_view given, std::string_view secret);

}  // namespace lodestar::proxy
