// SPDX-License-Identifier: Apache-2.0
// From the bytes of a request body to what the router may know of it. One
// structural scan (simdjson); keys count only at the top level, so that `"user":`
// inside a prompt is text. The body itself is never changed.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "prefix/canonical.h"
#include "proxy/api.h"
#include "routing/request.h"

namespace lodestar::proxy {

struct ParseOptions {
  HashKey hash_key;
  std::size_t block_bytes = kDefaultBlockBytes;
};

struct ParsedRequest {
  Api api = Api::kChat;
  RequestInfo info;          // served model, session key (body), prompt, caps, stream
  bool wants_usage = false;  // stream_options.include_usage, or usage comes anyway
};

// One per worker: keeps its buffers between requests. Not thread-safe.
class BodyParser {
 public:
  explicit BodyParser(ParseOptions options);
  ~BodyParser();
  BodyParser(const BodyParser&) = delete;
  BodyParser& operator=(const BodyParser&) = delete;

  // `tenant_salt` separates the prefix caches of tenants; may be empty. The
  // body's capacity may grow (padding for the scan), its content does not change.
  // Errors (kInvalidArgument, downstream) say what is wrong: not JSON and where, not
  // an object, no `model`.
  Result<ParsedRequest> parse(Api api, std::string& body, std::string_view tenant_salt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestar::proxy
