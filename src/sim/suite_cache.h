// SPDX-License-Identifier: Apache-2.0
// Finished runs on disk. A file's place follows from what the run depends on:
//   <folder>/<2 hex>/<30 hex of content, policy, seed>/<16 hex of the program>.run
// so the same run of several programs lies in one folder. Files are written aside
// and renamed; a damaged one is as good as none, and is counted. Values in, values
// out; safe to use from several threads and processes at once.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "sim/suite_digest.h"

namespace lodestar::sim {

struct RunKey {
  std::string content;  // SuitePoint::content
  std::string policy;   // with parameters
  std::uint64_t seed = 0;
};

class SuiteCache {
 public:
  enum class Found { kNo, kYes, kDamaged };
  struct Entry {
    Found found = Found::kNo;
    RunDigest digest;
    bool other_program = false;
  };

  // `program`: identity of the binary. Errors: the folder cannot be made.
  static Result<SuiteCache> open(const std::string& folder, std::uint64_t program);

  // any_program: where this program has no entry, take the newest of another one.
  Entry load(const RunKey& key, bool any_program) const;
  // Keeps the newest kPrograms entries of the run. Errors: cannot be written.
  Result<void> store(const RunKey& key, const RunDigest& digest) const;

  // The file of this program's entry.
  std::string path_of(const RunKey& key) const;
  static constexpr std::size_t kPrograms = 3;

 private:
  SuiteCache(std::string folder, std::uint64_t program)
      : folder_(std::move(folder)), program_(program) {}
  std::string folder_;
  std::uint64_t program_;
};

// Hash of a file's bytes, for `program`. Errors: cannot be read.
Result<std::uint64_t> hash_file(const std::string& path);

}  // namespace lodestar::sim
