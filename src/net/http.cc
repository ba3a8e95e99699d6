// SPDX-License-Identifier: Apache-2.0
#include "net/http.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace lodestar::net {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// Calls f(token) for each element of a comma-separated list.
template <class F>
void for_each_token(std::string_view list, F&& f) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view token = trim(list.substr(0, comma));
    if (!token.empty()) f(token);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u >= 0x7f) {
      // Bytes beyond ASCII may come from a broken request: shown as code points of
      // Latin-1, so that the answer is valid JSON whatever they were.
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", u);
      out += escape;
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      break;
  }
  if (status == 502 || status == 503 || status == 504) return "service_unavailable_error";
  return status >= 500 ? "internal_server_error" : "invalid_request_error";
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

const std::string* Headers::find(std::string_view name) const {
  for (const Header& h : list_) {
    if (equal_ignoring_case(h.name, name)) return &h.value;
  }
  return nullptr;
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(std::count_if(list_.begin(), list_.end(), [&](const Header& h) {
    return equal_ignoring_case(h.name, name);
  }));
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  bool found = false;
  for (const Header& h : list_) {
    if (!equal_ignoring_case(h.name, name)) continue;
    for_each_token(h.value, [&](std::string_view t) { found |= equal_ignoring_case(t, token); });
  }
  return found;
}

void Headers::set(std::string_view name, std::string_view value) {
  for (std::size_t i = 0; i < list_.size(); ++i) {
    if (!equal_ignoring_case(list_[i].name, name)) continue;
    list_[i].value = value;
    const auto rest = list_.begin() + static_cast<std::ptrdiff_t>(i) + 1;
    list_.erase(std::remove_if(rest, list_.end(),
                               [&](const Header& h) { return equal_ignoring_case(h.name, name); }),
                list_.end());
    return;
  }
  add(name, value);
}

std::size_t Headers::remove(std::string_view name) {
  return std::erase_if(list_, [&](const Header& h) { return equal_ignoring_case(h.name, name); });
}

std::string_view RequestHead::path() const {
  return std::string_view(target).substr(0, target.find('?'));
}

std::string_view RequestHead::query() const {
  const std::size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

void strip_hop_by_hop(Headers& headers) {
  std::vector<std::string> named;
  for (const Header& h : headers) {
    if (!equal_ignoring_case(h.name, "connection")) continue;
    for_each_token(h.value, [&](std::string_view t) { named.emplace_back(t); });
  }
  static constexpr std::array<std::string_view, 8> kHopByHop = {
      "connection", "keep-alive", "proxy-connection", "transfer-encoding",
      "te",         "trailer",    "upgrade",          "proxy-authenticate"};
  std::erase_if(headers.list(), [&](const Header& h) {
    const auto same = [&](std::string_view name) { return equal_ignoring_case(h.name, name); };
    if (std::any_of(kHopByHop.begin(), kHopByHop.end(), same)) return true;
    if (same("proxy-authorization")) return true;
    // A Connection header must not take away what delimits or addresses the message.
    if (same("content-length") || same("host")) return false;
    return std::any_of(named.begin(), named.end(), same);
  });
}

std::string_view status_reason(int status) {
  struct Row {
    int status;
    std::string_view reason;
  };
  static constexpr Row kRows[] = {{100, "Continue"},
                                  {101, "Switching Protocols"},
                                  {103, "Early Hints"},
                                  {200, "OK"},
                                  {201, "Created"},
                                  {202, "Accepted"},
                                  {204, "No Content"},
                                  {206, "Partial Content"},
                                  {301, "Moved Permanently"},
                                  {302, "Found"},
                                  {304, "Not Modified"},
                                  {307, "Temporary Redirect"},
                                  {308, "Permanent Redirect"},
                                  {400, "Bad Request"},
                                  {401, "Unauthorized"},
                                  {403, "Forbidden"},
                                  {404, "Not Found"},
                                  {405, "Method Not Allowed"},
                                  {408, "Request Timeout"},
                                  {409, "Conflict"},
                                  {411, "Length Required"},
                                  {413, "Content Too Large"},
                                  {414, "URI Too Long"},
                                  {415, "Unsupported Media Type"},
                                  {417, "Expectation Failed"},
                                  {422, "Unprocessable Content"},
                                  {429, "Too Many Requests"},
                                  {431, "Request Header Fields Too Large"},
                                  {499, "Client Closed Request"},
                                  {500, "Internal Server Error"},
                                  {501, "Not Implemented"},
                                  {502, "Bad Gateway"},
                                  {503, "Service Unavailable"},
                                  {504, "Gateway Timeout"},
                                  {505, "HTTP Version Not Supported"},
                                  {529, "Overloaded"}};
  for (const Row& row : kRows) {
    if (row.status == status) return row.reason;
  }
  return "Unknown";
}

std::string openai_error_body(int status, std::string_view message, std::string_view type,
                              std::string_view code) {
  std::string out = R"({"error":{"message":)";
  append_json_string(out, message);
  out += R"(,"type":)";
  append_json_string(out, type.empty() ? error_type(status) : type);
  out += R"(,"param":null,"code":)";
  if (code.empty()) {
    out += "null";
  } else {
    append_json_string(out, code);
  }
  out += "}}";
  return out;
}

}  // namespace lodestar::net
