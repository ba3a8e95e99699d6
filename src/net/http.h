// SPDX-License-Identifier: Apache-2.0
// HTTP messages as plain values; no sockets here. Header names compare without
// regard to ASCII case and keep the spelling and order in which they came.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestar::net {

struct Header {
  std::string name, value;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

class Headers {
 public:
  Headers() = default;
  // In a coroutine give the list a name first: g++ 12 refuses an initializer list
  // within a co_await expression ("array used as initializer").
  Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
    for (const auto& [name, value] : list) add(name, value);
  }
  // The first value of that name, or nullptr; valid until the next change.
  const std::string* find(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  // True if a comma-separated list under that name has this token (any case).
  bool has_token(std::string_view name, std::string_view token) const;
  void add(std::string_view name, std::string_view value) {
    list_.push_back({std::string(name), std::string(value)});
  }
  // Replaces every header of that name by one.
  void set(std::string_view name, std::string_view value);
  // Removes every header of that name; tells how many there were.
  std::size_t remove(std::string_view name);

  std::size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  std::vector<Header>& list() { return list_; }

 private:
  std::vector<Header> list_;
};

struct RequestHead {
  std::string method = "GET";
  std::string target = "/";  // origin form: path and query, never a scheme or host
  Headers headers;
  int version_minor = 1;     // HTTP/1.0 or HTTP/1.1
  bool keep_alive = true;    // what the peer's version and Connection header ask for

  std::string_view path() const;   // the target up to '?'
  std::string_view query() const;  // what follows '?', or empty
};

struct ResponseHead {
  int status = 200;
  std::string reason;  // empty: the standard phrase of the status
  Headers headers;
  int version_minor = 1;
  bool keep_alive = true;
};

// Removes the headers that belong to one connection and not to the message:
// those of RFC 9110 §7.6.1 and whatever the Connection header names.
// Content-Length is left alone (it describes the message).
void strip_hop_by_hop(Headers& headers);

// "Not Found" for 404; "Unknown" for a status without a standard phrase.
std::string_view status_reason(int status);

// An error body in the form of the OpenAI API:
// {"error":{"message":…,"type":…,"param":null,"code":…}}. An empty type is chosen
// by the status; an empty code becomes null.
std::string openai_error_body(int status, std::string_view message, std::string_view type = {},
                              std::string_view code = {});

}  // namespace lodestar::net
