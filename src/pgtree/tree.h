#pragma once
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// PostgreSQL's parse tree as libpg_query hands it out (protobuf-c structs), and what the walkers share: short names,
/// lists as spans, and reflection over the message descriptors so that no clause is ever dropped by oversight.
/// Lifetime: nodes belong to the Tree that parse() returned.
namespace outlast::pgtree {

using Node = PgQuery__Node;
using Message = ProtobufCMessage;

/// `PG_NODE(SELECT_STMT)`: the case of a node.
#define PG_NODE(name) PG_QUERY__NODE__NODE_##name
/// `PG_LIST(stmt, target_list)`: a repeated field as a span of nodes.
#define PG_LIST(message, field) std::span<PgQuery__Node* const>((message)->field, (message)->n_##field)

/// The first field of `message` that is set and not among `handled`; empty when there is none. Enums count as set
/// unless they are 0: handle them by name. `location` never counts.
std::string_view unhandled_field(const Message& message, std::initializer_list<std::string_view> handled);

/// Calls `visit` for every node directly below `message`.
void for_each_child(const Message& message, const std::function<void(const Node&)>& visit);

/// Calls `visit` for every relation that is named anywhere below `message`, also where only relations may stand.
void for_each_relation(const Message& message, const std::function<void(const PgQuery__RangeVar&)>& visit);

/// Same tree, whatever the locations.
bool same_tree(const Message& a, const Message& b);

/// The message inside a node, nullptr when the node is empty.
const Message* inner(const Node* node);

/// "select_stmt" for SelectStmt: the node's kind in words for refusals.
std::string kind_name(const Node* node);

/// The byte offset of a node in the text, -1 when it has none.
int location_of(const Message& message);

/// The strings of a name list ({"pg_catalog", "count"}).
std::vector<std::string> strings(std::span<Node* const> list);

}  // namespace outlast::pgtree
