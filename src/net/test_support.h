// SPDX-License-Identifier: Apache-2.0
// For tests of this room and of those above it: a runtime on a thread of its own
// and plain blocking sockets that can say exactly what a test wants to say.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "net/runtime.h"

namespace lodestar::net::testing {

// Runs a Runtime on its own thread(s) for the life of the object.
class LiveRuntime {
 public:
  explicit LiveRuntime(int workers = 1) : runtime(workers), thread_([this] { runtime.run(); }) {}
  ~LiveRuntime() { halt(); }
  // Stops and joins: after it no handler runs any more.
  void halt() {
    runtime.stop();
    if (thread_.joinable()) thread_.join();
  }
  Runtime runtime;

  // Runs a task on a worker and waits for its value here.
  template <class T>
  T get(Task<T> task, int worker = 0) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    spawn(runtime.executor(worker), keep<T>(std::move(task), promise), "test");
    return future.get();
  }

  // Runs a plain function on a worker and waits for it.
  template <class F>
  auto on_worker(F f, int worker = 0) {
    std::promise<decltype(f())> promise;
    post(runtime.executor(worker), [&] {
      if constexpr (std::is_void_v<decltype(f())>) {
        f();
        promise.set_value();
      } else {
        promise.set_value(f());
      }
    });
    return promise.get_future().get();
  }

 private:
  template <class T>
  static Task<void> keep(Task<T> task, std::shared_ptr<std::promise<T>> promise) {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      promise->set_value();
    } else {
      promise->set_value(co_await std::move(task));
    }
  }
  std::thread thread_;
};

// A blocking socket. Every wait ends after 10 s, so that a broken server fails a
// test and does not hang it.
class RawSocket {
 public:
  explicit RawSocket(int fd) : fd_(fd) {}
  RawSocket(RawSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RawSocket& operator=(RawSocket&&) = delete;
  ~RawSocket() { close(); }

  static RawSocket connect(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(fd);
      return RawSocket(-1);
    }
    return RawSocket(fd);
  }

  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  void half_close() { ::shutdown(fd_, SHUT_WR); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // Up to one read's worth; empty at the end, on an error or after the time.
  std::string read_some(int timeout_ms = 10'000) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, timeout_ms) <= 0) return {};
    char buffer[16 * 1024];
    const auto n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
  }
  // Everything up to the end of the connection.
  std::string read_all() {
    std::string out;
    for (std::string piece = read_some(); !piece.empty(); piece = read_some()) out += piece;
    return out;
  }
  // Until the text has come (or nothing more comes).
  std::string read_until(std::string_view text) {
    std::string out;
    while (out.find(text) == std::string::npos) {
      const std::string piece = read_some();
      if (piece.empty()) break;
      out += piece;
    }
    return out;
  }
  // True when the peer closes (or resets) within the time, having sent nothing more.
  bool sees_end(int timeout_ms = 10'000) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, timeout_ms) <= 0) return false;
    char byte;
    return ::recv(fd_, &byte, 1, 0) <= 0;
  }

 private:
  int fd_;
};

// A listening socket whose connections a test answers by hand.
class RawListener {
 public:
  RawListener() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 64) != 0) {
      return;
    }
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~RawListener() { close(); }
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  std::uint16_t port() const { return port_; }
  RawSocket accept() {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, 10'000) <= 0) return RawSocket(-1);
    return RawSocket(::accept(fd_, nullptr, nullptr));
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

}  // namespace lodestar::net::testing
