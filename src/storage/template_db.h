#pragma once
#include <string>

namespace outlast::storage {

/// The database file at LSN 0: an empty SQLite database of one page, WAL mode, UTF-8, no auto-vacuum. Built here byte
/// by byte and not by SQLite, so that it is the same on all nodes whatever SQLite they have (page 1 of an empty
/// database never passes through the log).
std::string template_database();

}  // namespace outlast::storage
