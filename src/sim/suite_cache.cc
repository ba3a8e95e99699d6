// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/hash.h"

namespace lodestar::sim {
namespace {

namespace fs = std::filesystem;

// Bumped when the meaning of what is stored changes; the program's own hash alone
// would not tell entries apart that another program may take over.
constexpr std::string_view kMagic = "lodestar-run-1\n";
constexpr std::size_t kHead = kMagic.size() + sizeof(std::uint64_t);
constexpr HashKey kChecksumKey{0x6c6f6465, 0x73746172};

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The newest file of the folder, by time of writing and then by name; "" if none.
std::vector<fs::path> newest_first(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto written = fs::last_write_time(entry.path(), error);
    if (!error && entry.path().extension() == ".run") found.emplace_back(written, entry.path());
  }
  std::sort(found.begin(), found.end(), std::greater<>());
  std::vector<fs::path> paths;
  for (auto& [written, path] : found) paths.push_back(std::move(path));
  return paths;
}

SuiteCache::Entry read_entry(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  SuiteCache::Entry entry{SuiteCache::Found::kDamaged, {}, false};
  const std::string bytes = read_bytes(path);
  if (bytes.size() < kHead || !bytes.starts_with(kMagic)) return entry;
  std::uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + kMagic.size(), sizeof checksum);
  const std::string payload = bytes.substr(kHead);
  if (siphash13(kChecksumKey, payload) != checksum) return entry;
  auto digest = decode_digest(payload);
  if (!digest) return entry;
  entry.digest = std::move(*digest);
  entry.found = SuiteCache::Found::kYes;
  return entry;
}

}  // namespace

Result<std::uint64_t> hash_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kNotFound, "cannot read " + path);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return siphash13({0x70726f67, 0x72616d}, bytes);
}

Result<SuiteCache> SuiteCache::open(const std::string& folder, std::uint64_t program) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot make the cache folder {}: {} (--cache DIR, or --no-cache)",
                            folder, error.message()));
  return SuiteCache(folder, program);
}

std::string SuiteCache::path_of(const RunKey& key) const {
  const std::string text =
      fmt::format("{}\npolicy {}\nseed {}\n", key.content, key.policy, key.seed);
  const std::string hex =
      fmt::format("{:016x}{:016x}", siphash13({5, 6}, text), siphash13({7, 8}, text));
  return fmt::format("{}/{}/{}/{:016x}.run", folder_, hex.substr(0, 2), hex.substr(2), program_);
}

SuiteCache::Entry SuiteCache::load(const RunKey& key, bool any_program) const {
  const std::string mine = path_of(key);
  Entry entry = read_entry(mine);
  if (entry.found == Found::kYes || !any_program) return entry;
  for (const fs::path& path : newest_first(fs::path(mine).parent_path())) {
    Entry other = read_entry(path.string());
    other.other_program = true;
    if (other.found == Found::kYes) return other;
  }
  return entry;
}

Result<void> SuiteCache::store(const RunKey& key, const RunDigest& digest) const {
  const std::string path = path_of(key);
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  const std::string payload = encode_digest(digest);
  const std::uint64_t checksum = siphash13(kChecksumKey, payload);
  std::string bytes(kMagic);
  bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  bytes += payload;
  // Two processes may run the same suite: each writes aside under its own name.
  const std::string aside = fmt::format("{}.{}", path, getpid());
  if (auto ok = write_text_file(aside, bytes); !ok) return ok;
  fs::rename(aside, path, error);
  if (error)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot write {}: {}", path, error.message()));
  const std::vector<fs::path> entries = newest_first(folder);
  for (std::size_t i = kPrograms; i < entries.size(); ++i) fs::remove(entries[i], error);
  return {};
}

}  // namespace lodestar::sim
