#include "storage/sealed_file.h"

#include <charconv>
#include <cstdio>

#include "base/crc32c.h"

namespace outlast::storage {
namespace {

std::string seal_line(std::string_view body) {
  char line[32];
  std::snprintf(line, sizeof line, "crc32c %08x\n", crc32c(body));
  return line;
}

/// "outlast <kind> <version>": the version, or nothing when it is another kind.
Result<std::uint32_t> version_in(std::string_view line, const SealedKind& kind, const std::string& path) {
  const std::string head = "outlast " + kind.name + " ";
  std::uint32_t version = 0;
  if (line.starts_with(head)) {
    const std::string_view digits = line.substr(head.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), version);
    if (error == std::errc() && end == digits.data() + digits.size()) return version;
  }
  return Error(Errc::kCorrupt, path + " is not a " + kind.name + " file of Outlast; restore it or take another store");
}

}  // namespace

Result<void> write_sealed(Disk& disk, const std::string& dir, const std::string& name, const SealedKind& kind,
                          const Fields& fields) {
  std::string text = "outlast " + kind.name + " " + std::to_string(kind.version) + "\n";
  for (const auto& [key, value] : fields) {
    OUTLAST_ASSERT(value.find('\n') == std::string::npos && key.find(' ') == std::string::npos);
    text += key + " " + value + "\n";
  }
  text += seal_line(text);
  const std::string temporary = dir + "/" + name + ".tmp";
  {
    ASSIGN_OR_RETURN(const auto file, disk.open(temporary, OpenMode::kCreateNew));
    TRY(file->pwrite(0, text));
    TRY(file->sync());
  }
  TRY(disk.rename(temporary, dir + "/" + name));
  return disk.sync_dir(dir);
}

Result<Fields> read_sealed(Disk& disk, const std::string& path, const SealedKind& kind) {
  ASSIGN_OR_RETURN(const std::string text, read_file(disk, path));
  const std::size_t first_end = text.find('\n');
  ASSIGN_OR_RETURN(const std::uint32_t version, version_in(std::string_view(text).substr(0, first_end), kind, path));
  // Before the checksum: a newer program may seal in another way.
  if (version > kind.version)
    return Error(Errc::kWrongVersion, path + " was written by a newer version of Outlast (format " +
                                          std::to_string(version) + ", this program knows " +
                                          std::to_string(kind.version) + "); start that version or a later one");
  const std::size_t seal = text.rfind("crc32c ");
  if (seal == std::string::npos || seal_line(std::string_view(text).substr(0, seal)) != text.substr(seal))
    return Error(Errc::kCorrupt, path + " fails its checksum; the disk damaged it");
  Fields fields;
  for (std::size_t at = first_end + 1; at < seal;) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    const std::size_t space = line.find(' ');
    if (space == std::string::npos) return Error(Errc::kCorrupt, path + " has a line without a value");
    fields.emplace(line.substr(0, space), line.substr(space + 1));
    at = end + 1;
  }
  return fields;
}

Result<std::uint64_t> number_field(const Fields& fields, const std::string& key) {
  const auto it = fields.find(key);
  std::uint64_t number = 0;
  if (it != fields.end()) {
    const char* end = it->second.data() + it->second.size();
    const auto [stop, error] = std::from_chars(it->second.data(), end, number);
    if (error == std::errc() && stop == end) return number;
  }
  return Error(Errc::kCorrupt, "the field '" + key + "' is missing or is not a number");
}

std::string text_field(const Fields& fields, const std::string& key) {
  const auto it = fields.find(key);
  return it == fields.end() ? std::string() : it->second;
}

}  // namespace outlast::storage
