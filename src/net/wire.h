// SPDX-License-Identifier: Apache-2.0
// One TCP connection as both sides of this room use it: a growing read buffer, one
// outstanding read at most, writes that first try to finish at once, and one
// deadline. Belongs to one worker. Internal to net/.
#pragma once
#include <array>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/task.h"
#include "net/watchdog.h"

namespace lodestar::net {

using Tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<Tcp, Executor>;

enum class Io {
  kOk,
  kEof,      // the peer ended its side properly
  kReset,    // the connection broke
  kTimeout,  // our deadline
  kClosed,   // closed by us meanwhile
};

// Bytes read and not used yet. Grows by doubling when reads fill it, so that ten
// thousand thin streams stay small and a fat one gets large reads.
class ReadBuffer {
 public:
  static constexpr std::size_t kFirst = 4 * 1024, kMost = 64 * 1024;

  std::string_view view() const { return {bytes_.get() + begin_, end_ - begin_}; }
  char* data() { return bytes_.get() + begin_; }
  std::size_t size() const { return end_ - begin_; }
  void consume(std::size_t n);
  // Room for the next read, at least one byte; moves or grows what is held.
  asio::mutable_buffer prepare();
  void commit(std::size_t n);
  // Between two messages: the next one starts small again.
  void relax();

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
  bool full_ = false;  // the last read used all the room it had
  bool lent_ = false;  // a read may write behind end_: nothing may move
};

class Wire : public std::enable_shared_from_this<Wire> {
 public:
  explicit Wire(Socket socket);

  Socket& socket() { return socket_; }
  ReadBuffer& in() { return in_; }

  // Waits until in() has more bytes than now.
  Task<Io> fill(TimeNs deadline);
  // Appends to `out` until it has `target` bytes: first what in() holds, then
  // straight from the socket, without a copy.
  Task<Io> read_into(std::string& out, std::size_t target, TimeNs deadline);

  using Pieces = std::array<std::string_view, 3>;
  // Writes without waiting. True if all is out; otherwise `pieces` is what is left
  // and `status` says whether write() may go on (kOk) or the connection is lost.
  bool try_write(Pieces& pieces, Io& status);
  Task<Io> write(Pieces pieces, TimeNs deadline);

  // While watched, a read is kept outstanding so that the peer's going away is
  // seen at once; bytes that come are kept in in() (up to kMost of them).
  void watch(std::function<void()> on_gone);
  void unwatch();

  // True unless the peer has closed, or sent bytes when it had no reason to.
  bool quiet();
  void shutdown_send();
  void close(bool reset = false);  // reset: the peer sees an error, not an end
  bool closed() const { return closed_; }

 private:
  struct ReadOp;
  void start_read();
  void on_read(boost::system::error_code ec, std::size_t n);
  void abandon();
  Io status_of(boost::system::error_code ec) const;

  Socket socket_;
  Watchdog watchdog_;
  ReadBuffer in_;
  std::move_only_function<void()> reader_;  // the coroutine that waits for bytes
  std::function<void()> on_gone_;
  boost::system::error_code read_error_;
  bool reading_ = false;
  bool watching_ = false;
  bool closed_ = false;
};

}  // namespace lodestar::net
