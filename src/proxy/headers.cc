// SPDX-License-Identifier: Apache-2.0
#include "proxy/headers.h"

#include <algorithm>

namespace lodestar::proxy {

bool is_internal_header(std::string_view name) {
  return std::any_of(std::begin(kInternalHeaders), std::end(kInternalHeaders),
                     [&](std::string_view p) {
                       if (!p.ends_with('*')) return net::equal_ignoring_case(name, p);
                       p.remove_suffix(1);
                       return net::equal_ignoring_case(name.substr(0, p.size()), p);
                     });
}

net::RequestHead upstream_head(const net::RequestHead& client, const std::string& request_id) {
  net::RequestHead head;
  head.method = client.method;
  head.target = client.target;
  head.headers = client.headers;
  net::strip_hop_by_hop(head.headers);
  std::erase_if(head.headers.list(), [](const net::Header& h) {
    return is_internal_header(h.name) || net::equal_ignoring_case(h.name, "host") ||
           net::equal_ignoring_case(h.name, "content-length") ||
           net::equal_ignoring_case(h.name, "expect") ||
           net::equal_ignoring_case(h.name, "accept-encoding");
  });
  head.headers.set("X-Request-Id", request_id);
  return head;
}

net::Headers client_headers(const net::Headers& upstream, const std::string& request_id) {
  net::Headers out = upstream;
  net::strip_hop_by_hop(out);
  std::erase_if(out.list(), [](const net::Header& h) {
    return is_internal_header(h.name) || net::equal_ignoring_case(h.name, "endpoint-load-metrics");
  });
  if (out.find("x-request-id") == nullptr) out.add("X-Request-Id", request_id);
  return out;
}

bool equal_secret(std::string_view given, std::string_view secret) {
  unsigned difference = given.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i]) ^
                  static_cast<unsigned char>(secret.empty() ? 0 : secret[i % secret.size()]);
  return difference == 0 && !secret.empty();
}

}  // namespace lodestar::proxy
