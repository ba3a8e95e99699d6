// SPDX-License-Identifier: Apache-2.0
// What the proxy does, as values; read from YAML by proxy/serve_config.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "base/time.h"
#include "net/client.h"
#include "proxy/parse.h"

namespace lodestar::proxy {

struct ProxyOptions {
  ParseOptions parse;
  bool expose_routing = false;     // honour routing-strategy, name the instance in answers
  std::string admin_token;         // grants the same to one request; empty: nobody
  bool usage_injection = false;    // ask engines for usage when the client did not
  std::string tenant_header;       // its value salts the prefix keys; empty: one tenant
  std::string default_policy;      // for x-lodestar-policy
  std::map<std::string, std::string> policy_by_model;
  std::size_t max_inflight = 16'384;            // routed requests; beyond: 503
  DurationNs hold_timeout = 120 * kSecond;      // longest that a policy may hold a request
  DurationNs request_timeout = 0;               // for a whole request; 0: none
  net::ClientOptions upstream;
};

}  // namespace lodestar::proxy
