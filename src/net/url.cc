// SPDX-License-Identifier: Apache-2.0
#include "net/url.h"

#include <algorithm>
#include <charconv>

namespace lodestar::net {

namespace {

std::unexpected<Error> bad_url(std::string_view text, std::string_view what) {
  std::string message = "URL \"";
  for (const char c : text.substr(0, 200)) message += (c >= 0x20 && c < 0x7f) ? c : '?';
  message += "\": ";
  message += what;
  message += "; expected http://host:port[/base], for example http://10.0.0.7:8000";
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

bool host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

bool ipv6_char(char c) {
  return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' ||
         c == '.';
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

}  // namespace

std::string Url::authority() const {
  const bool bracket = host.find(':') != std::string::npos;
  std::string out = bracket ? "[" + host + "]" : host;
  out += ':';
  out += std::to_string(port);
  return out;
}

Result<Url> parse_url(std::string_view text) {
  std::string_view rest = text;
  Url url;
  if (const std::size_t mark = rest.find("://"); mark != std::string_view::npos) {
    url.scheme = lower(rest.substr(0, mark));
    rest.remove_prefix(mark + 3);
  }
  if (url.scheme == "https") return bad_url(text, "https is not supported yet");
  if (url.scheme != "http") return bad_url(text, "unknown scheme");
  for (const char c : rest) {
    if (c <= 0x20 || c >= 0x7f) return bad_url(text, "has a space or a character beyond ASCII");
  }
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return bad_url(text, "a query or fragment has no meaning here");
  }
  std::string_view authority = rest.substr(0, rest.find('/'));
  std::string_view base = rest.substr(authority.size());
  if (authority.find('@') != std::string_view::npos) {
    return bad_url(text, "user names and passwords in a URL are not accepted");
  }
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos)
      return bad_url(text, "the [ of an IPv6 address is not closed");
    url.host = lower(authority.substr(1, end - 1));
    authority.remove_prefix(end + 1);
    if (url.host.find(':') == std::string::npos ||
        !std::all_of(url.host.begin(), url.host.end(), ipv6_char)) {
      return bad_url(text, "what stands in [ ] is not an IPv6 address");
    }
    if (!authority.empty() && authority.front() != ':')
      return bad_url(text, "unexpected text after ]");
    has_port = !authority.empty();
    port = has_port ? authority.substr(1) : authority;
  } else {
    const std::size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    url.host = lower(authority.substr(0, colon));
    if (!std::all_of(url.host.begin(), url.host.end(), host_char)) {
      return bad_url(text, "the host name has a character that cannot stand in one");
    }
  }
  if (url.host.empty()) return bad_url(text, "the host is missing");
  if (has_port) {
    unsigned value = 0;
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), value);
    if (ec != std::errc() || end != port.data() + port.size() || value == 0 || value > 65535) {
      return bad_url(text, "the port must be a number from 1 to 65535");
    }
    url.port = static_cast<std::uint16_t>(value);
  }
  while (base.ends_with('/')) base.remove_suffix(1);
  url.base_path = base;
  return url;
}

}  // namespace lodestar::net
