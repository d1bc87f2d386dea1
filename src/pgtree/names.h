#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "pgtree/tree.h"

namespace outlast::pgtree {

/// "name", with quotes doubled: the form of every identifier that we write.
std::string quote_name(std::string_view name);
/// 'text', with quotes doubled.
std::string quote_text(std::string_view text);
std::string join_list(const std::vector<std::string>& parts, std::string_view separator);
/// The name PostgreSQL gives a column without AS: "count", "?column?".
std::string target_name(const Node* node);

}  // namespace outlast::pgtree
