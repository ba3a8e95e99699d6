// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or an Error that says what happened, whose fault it was and
// whether trying again can help. Exceptions are for start-up only.
#pragma once
#include <expected>
#include <string>
#include <utility>

namespace lodestar {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input is wrong
  kNotFound,
  kUnavailable,      // nobody can serve this now
  kTooLarge,         // a limit was hit
  kTimeout,
  kConnection,       // refused, reset, closed early
  kProtocol,         // the peer broke its protocol
  kInternal,
};
enum class ErrorSource { kDownstream, kUpstream, kInternal };
enum class Retry { kNo, kYes, kOnlyIfReused };  // the last: a stale pooled connection

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  ErrorSource source = ErrorSource::kInternal;
  Retry retry = Retry::kNo;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message,
                                   ErrorSource source = ErrorSource::kInternal,
                                   Retry retry = Retry::kNo) {
  return std::unexpected(Error{code, source, retry, std::move(message)});
}

}  // namespace lodestar
