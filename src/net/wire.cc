// SPDX-License-Identifier: Apache-2.0
#include "net/wire.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace lodestar::net {

void ReadBuffer::consume(std::size_t n) {
  LODESTAR_CHECK(n <= size());
  begin_ += n;
  if (begin_ == end_ && !lent_) begin_ = end_ = 0;
}

asio::mutable_buffer ReadBuffer::prepare() {
  LODESTAR_CHECK(!lent_);
  lent_ = true;
  if (begin_ == end_) begin_ = end_ = 0;
  const std::size_t held = size();
  std::size_t want = std::max(capacity_, kFirst);
  if (full_ && want < kMost) want *= 2;
  // A head larger than kMost must still fit: its limit is the caller's affair.
  if (held == want) want *= 2;
  full_ = false;
  if (want > capacity_) {
    auto grown = std::make_unique_for_overwrite<char[]>(want);
    if (held > 0) std::memcpy(grown.get(), bytes_.get() + begin_, held);
    bytes_ = std::move(grown);
    capacity_ = want;
    begin_ = 0;
    end_ = held;
  } else if (capacity_ - end_ < capacity_ / 4 && begin_ > 0) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, held);
    begin_ = 0;
    end_ = held;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

void ReadBuffer::commit(std::size_t n) {
  full_ = n == capacity_ - end_;
  end_ += n;
  lent_ = false;
}

void ReadBuffer::relax() {
  full_ = false;
  if (lent_ || size() > 0 || capacity_ <= 4 * kFirst) return;
  bytes_.reset();
  capacity_ = begin_ = end_ = 0;
}

// The pending read. If the executor drops it at shutdown, the coroutine that
// waits for it goes with it; otherwise the two would keep each other alive.
struct Wire::ReadOp {
  std::shared_ptr<Wire> wire;
  explicit ReadOp(std::shared_ptr<Wire> w) : wire(std::move(w)) {}
  ReadOp(ReadOp&&) noexcept = default;
  ReadOp& operator=(ReadOp&&) = delete;
  ~ReadOp() {
    if (wire) wire->abandon();
  }
  void operator()(boost::system::error_code ec, std::size_t n) {
    const auto keep = std::move(wire);
    keep->on_read(ec, n);
  }
};

Wire::Wire(Socket socket)
    : socket_(std::move(socket)), watchdog_(socket_.get_executor(), [this] {
        boost::system::error_code ignored;
        socket_.cancel(ignored);
      }) {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(Tcp::no_delay(true), ignored);
}

Io Wire::status_of(boost::system::error_code ec) const {
  if (!ec) return Io::kOk;
  if (closed_) return Io::kClosed;
  if (ec == asio::error::operation_aborted) return watchdog_.expired() ? Io::kTimeout : Io::kClosed;
  return ec == asio::error::eof ? Io::kEof : Io::kReset;
}

void Wire::start_read() {
  reading_ = true;
  socket_.async_read_some(in_.prepare(), ReadOp(shared_from_this()));
}

void Wire::abandon() {
  reading_ = false;
  const auto dropped = std::exchange(reader_, nullptr);
}

void Wire::on_read(boost::system::error_code ec, std::size_t n) {
  reading_ = false;
  in_.commit(n);
  if (ec) read_error_ = ec;
  if (auto resume = std::exchange(reader_, nullptr)) {
    resume();
    return;
  }
  if (!watching_) return;
  if (!ec) {
    if (in_.size() < ReadBuffer::kMost) start_read();
    return;
  }
  watching_ = false;
  if (const auto hook = std::exchange(on_gone_, nullptr)) hook();
}

Task<Io> Wire::fill(TimeNs deadline) {
  if (closed_) co_return Io::kClosed;
  if (!read_error_) {
    const std::size_t before = in_.size();
    if (!reading_) start_read();
    watchdog_.set(deadline);
    co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(
        [this](auto handler) { reader_ = std::move(handler); }, kUseTask);
    watchdog_.clear();
    if (in_.size() > before) co_return Io::kOk;
  }
  const Io status = status_of(read_error_);
  // A deadline ends this wait, not the connection.
  if (status == Io::kTimeout) read_error_ = {};
  co_return status == Io::kOk ? Io::kReset : status;
}

Task<Io> Wire::read_into(std::string& out, std::size_t target, TimeNs deadline) {
  // The rest comes without the buffer: no reason for it to grow.
  in_.relax();
  for (;;) {
    const std::size_t take = std::min(target - out.size(), in_.size());
    out.append(in_.data(), take);
    in_.consume(take);
    if (out.size() == target) co_return Io::kOk;
    // A read that is already under way (left by watch()) brings the next bytes.
    if (!reading_) break;
    if (const Io status = co_await fill(deadline); status != Io::kOk) co_return status;
  }
  // Between turns of the event loop: one fat body must not starve the others.
  constexpr std::size_t kPiece = 256 * 1024;
  for (;;) {
    const std::size_t have = out.size();
    const std::size_t want = std::min(target - have, kPiece);
    boost::system::error_code ec;
    std::size_t n = 0;
    if (closed_) co_return Io::kClosed;
    out.resize_and_overwrite(have + want, [&](char* p, std::size_t) {
      n = socket_.read_some(asio::buffer(p + have, want), ec);
      return have + n;
    });
    if (out.size() == target) co_return Io::kOk;
    if (ec && ec != asio::error::would_block && ec != asio::error::try_again) {
      read_error_ = ec;
      co_return status_of(ec);
    }
    watchdog_.set(deadline);
    co_await socket_.async_wait(Socket::wait_read, asio::redirect_error(kUseTask, ec));
    watchdog_.clear();
    if (ec) co_return status_of(ec);
  }
}

bool Wire::try_write(Pieces& pieces, Io& status) {
  status = Io::kOk;
  for (;;) {
    std::array<asio::const_buffer, 3> buffers;
    std::size_t left = 0;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      buffers[i] = asio::buffer(pieces[i].data(), pieces[i].size());
      left += pieces[i].size();
    }
    if (left == 0) return true;
    if (closed_) {
      status = Io::kClosed;
      return false;
    }
    boost::system::error_code ec;
    std::size_t n = socket_.write_some(buffers, ec);
    if (ec == asio::error::would_block || ec == asio::error::try_again) return false;
    if (ec) {
      status = Io::kReset;
      return false;
    }
    for (std::string_view& piece : pieces) {
      const std::size_t used = std::min(n, piece.size());
      piece.remove_prefix(used);
      n -= used;
    }
  }
}

Task<Io> Wire::write(Pieces pieces, TimeNs deadline) {
  for (;;) {
    Io status = Io::kOk;
    if (try_write(pieces, status)) co_return Io::kOk;
    if (status != Io::kOk) co_return status;
    boost::system::error_code ec;
    watchdog_.set(deadline);
    co_await socket_.async_wait(Socket::wait_write, asio::redirect_error(kUseTask, ec));
    watchdog_.clear();
    if (ec) co_return status_of(ec);
  }
}

void Wire::watch(std::function<void()> on_gone) {
  on_gone_ = std::move(on_gone);
  watching_ = true;
  if (closed_ || read_error_) {
    watching_ = false;
    if (const auto hook = std::exchange(on_gone_, nullptr)) hook();
    return;
  }
  if (!reading_ && in_.size() < ReadBuffer::kMost) start_read();
}

void Wire::unwatch() {
  watching_ = false;
  on_gone_ = nullptr;
}

bool Wire::quiet() {
  if (closed_ || read_error_ || in_.size() > 0) return false;
  char byte;
  const auto n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void Wire::shutdown_send() {
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void Wire::close(bool reset) {
  if (closed_) return;
  closed_ = true;
  watchdog_.clear();
  boost::system::error_code ignored;
  if (reset) socket_.set_option(Socket::linger(true, 0), ignored);
  socket_.close(ignored);
}

}  // namespace lodestar::net
