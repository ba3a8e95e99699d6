// SPDX-License-Identifier: Apache-2.0
// Log lines for the shells (never for the core, which returns values): one line
// to standard error, `LEVEL room message key=value ...`. Thread-safe. No prompt
// text, ever.
#pragma once
#include <string>
#include <string_view>

namespace lodestar {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view room, std::string_view message);
inline void log_info(std::string_view room, std::string_view m) { log(LogLevel::kInfo, room, m); }
inline void log_warn(std::string_view room, std::string_view m) { log(LogLevel::kWarn, room, m); }
inline void log_error(std::string_view room, std::string_view m) { log(LogLevel::kError, room, m); }

}  // namespace lodestar
