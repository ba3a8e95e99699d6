// SPDX-License-Identifier: Apache-2.0
// URLs of engines and endpoints as an operator writes them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lodestar::net {

struct Url {
  std::string scheme = "http";
  std::string host;  // without the brackets of an IPv6 literal
  std::uint16_t port = 80;
  std::string base_path;  // "" or "/v1": begins with '/', does not end with one

  // "host:port", an IPv6 host in brackets; the form of a Host header and of a label.
  std::string authority() const;
};

// http://host[:port][/base]. The scheme may be left out ("host:8000"). An error
// says what is wrong and how it should look; https is refused as not supported
// yet; user names, queries and fragments are refused.
Result<Url> parse_url(std::string_view text);

}  // namespace lodestar::net
