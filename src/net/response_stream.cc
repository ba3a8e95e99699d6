// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>

#include "net/client_impl.h"

namespace lodestar::net {

ResponseStream::Impl::Impl(std::shared_ptr<ClientPool::Core> c, std::shared_ptr<Wire> w,
                           std::shared_ptr<Cancel> k)
    : core(std::move(c)), wire(std::move(w)), cancel(std::move(k)) {
  ++core->in_use;
  if (cancel) {
    cancel->set_hook([weak = std::weak_ptr<Wire>(wire)] {
      if (const auto alive = weak.lock()) alive->close();
    });
  }
}

ResponseStream::Impl::~Impl() {
  if (cancel) cancel->set_hook(nullptr);
  --core->in_use;
  wire->in().consume(std::min(used, wire->in().size()));
  // Bytes after the end belong to no request of ours: do not trust the connection.
  const bool clean = ended && !failed && head.keep_alive && piece.empty() &&
                     framing.kind != BodyKind::kUntilClose && wire->in().size() == 0;
  if (clean && !wire->closed()) {
    core->give_back(std::move(wire));
  } else {
    wire->close();
  }
}

bool ResponseStream::Impl::pump() {
  if (!piece.empty() || ended || failed || broken) return true;
  ReadBuffer& in = wire->in();
  in.consume(used);
  used = 0;
  if (in.size() == 0) return false;
  if (framing.kind == BodyKind::kChunked) {
    const auto decoded = decoder.decode(in.data(), in.size());
    piece = {in.data() + decoded.begin, decoded.size};
    used = decoded.consumed;
    ended = decoded.done;
    if (decoded.bad) broken = decoder.error();
    return broken || ended || !piece.empty();
  }
  const std::size_t take = framing.kind == BodyKind::kLength
                               ? static_cast<std::size_t>(std::min<std::uint64_t>(left, in.size()))
                               : in.size();
  piece = {in.data(), take};
  used = take;
  if (framing.kind == BodyKind::kLength) {
    left -= take;
    ended = left == 0;
  }
  return true;
}

Task<Result<std::string_view>> ResponseStream::Impl::read_some() {
  for (;;) {
    const bool have = pump();
    // What was whole before the framing broke is still delivered.
    if (have && !piece.empty()) co_return std::exchange(piece, std::string_view());
    if (broken) {
      failed = true;
      wire->close();
      co_return upstream_error(*core->url, ErrorCode::kProtocol, broken, Retry::kNo);
    }
    if (failed) {
      co_return upstream_error(*core->url, ErrorCode::kConnection, "the response was closed",
                               Retry::kNo);
    }
    if (have) co_return std::string_view();
    const Io io = co_await wire->fill(std::min(deadline, now_ns() + read_timeout));
    if (io == Io::kOk) continue;
    if (io == Io::kEof && framing.kind == BodyKind::kUntilClose) {
      ended = true;
      co_return std::string_view();
    }
    failed = true;
    wire->close();
    if (io == Io::kTimeout) {
      co_return upstream_error(*core->url, ErrorCode::kTimeout, "the body of the response stalled",
                               Retry::kNo);
    }
    const char* message = cancel && cancel->cancelled() ? "cancelled"
                          : io == Io::kClosed
                              ? "the response was closed"
                              : "the connection broke within the body of the response";
    co_return upstream_error(*core->url, ErrorCode::kConnection, message, Retry::kNo);
  }
}

ResponseStream::ResponseStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ResponseStream::ResponseStream(ResponseStream&&) noexcept = default;
ResponseStream& ResponseStream::operator=(ResponseStream&&) noexcept = default;
ResponseStream::~ResponseStream() = default;

const ResponseHead& ResponseStream::head() const { return impl_->head; }
ResponseHead& ResponseStream::head() { return impl_->head; }
Task<Result<std::string_view>> ResponseStream::read_some() { return impl_->read_some(); }
bool ResponseStream::done() const { return impl_->ended && impl_->piece.empty(); }

bool ResponseStream::ready() { return impl_->pump(); }

Task<Result<std::string>> ResponseStream::read_all(std::size_t max_bytes) {
  std::string body;
  for (;;) {
    const auto piece = co_await read_some();
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) co_return body;
    if (body.size() + piece->size() > max_bytes) {
      close();
      co_return upstream_error(
          *impl_->core->url, ErrorCode::kTooLarge,
          "the response is larger than " + std::to_string(max_bytes) + " bytes", Retry::kNo);
    }
    body += *piece;
  }
}

void ResponseStream::close() {
  impl_->failed = true;
  impl_->wire->close();
}

bool ResponseStream::reused() const { return impl_->reused; }
TimeNs ResponseStream::sent() const { return impl_->sent; }
TimeNs ResponseStream::head_at() const { return impl_->head_at; }

}  // namespace lodestar::net
