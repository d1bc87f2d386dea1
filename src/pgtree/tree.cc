#include "pgtree/tree.h"

#include <algorithm>
#include <cstring>

namespace outlast::pgtree {
namespace {

using Field = ProtobufCFieldDescriptor;

std::span<const Field> fields_of(const Message& message) {
  return {message.descriptor->fields, message.descriptor->n_fields};
}

template <class T>
const T& at(const Message& message, unsigned offset) {
  return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(&message) + offset);
}

bool absent_from_union(const Message& message, const Field& field) {
  return (field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
         at<std::uint32_t>(message, field.quantifier_offset) != field.id;
}

bool is_set(const Message& message, const Field& field) {
  if (absent_from_union(message, field)) return false;
  if (field.label == PROTOBUF_C_LABEL_REPEATED) return at<std::size_t>(message, field.quantifier_offset) > 0;
  switch (field.type) {
    case PROTOBUF_C_TYPE_MESSAGE:
      return at<const Message*>(message, field.offset) != nullptr;
    case PROTOBUF_C_TYPE_STRING: {
      const char* text = at<const char*>(message, field.offset);
      return text != nullptr && *text != 0;
    }
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
      return at<std::int64_t>(message, field.offset) != 0;
    case PROTOBUF_C_TYPE_DOUBLE:
      return at<double>(message, field.offset) != 0;
    default:
      return at<std::int32_t>(message, field.offset) != 0;
  }
}

bool is_location(const Field& field) {
  return std::strcmp(field.name, "location") == 0 || std::strcmp(field.name, "stmt_location") == 0 ||
         std::strcmp(field.name, "stmt_len") == 0;
}

std::span<const Message* const> messages(const Message& message, const Field& field) {
  if (field.type != PROTOBUF_C_TYPE_MESSAGE || !is_set(message, field)) return {};
  if (field.label == PROTOBUF_C_LABEL_REPEATED)
    return {at<const Message* const*>(message, field.offset), at<std::size_t>(message, field.quantifier_offset)};
  return {&at<const Message*>(message, field.offset), 1};
}

bool same_scalar(const Message& a, const Message& b, const Field& field) {
  switch (field.type) {
    case PROTOBUF_C_TYPE_STRING:
      return std::strcmp(at<const char*>(a, field.offset), at<const char*>(b, field.offset)) == 0;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
      return at<std::int64_t>(a, field.offset) == at<std::int64_t>(b, field.offset);
    case PROTOBUF_C_TYPE_DOUBLE:
      return at<double>(a, field.offset) == at<double>(b, field.offset);
    default:
      return at<std::int32_t>(a, field.offset) == at<std::int32_t>(b, field.offset);
  }
}

}  // namespace

std::string_view unhandled_field(const Message& message, std::initializer_list<std::string_view> handled) {
  for (const Field& field : fields_of(message)) {
    if (is_location(field) || !is_set(message, field)) continue;
    if (std::find(handled.begin(), handled.end(), field.name) == handled.end()) return field.name;
  }
  return {};
}

void for_each_child(const Message& message, const std::function<void(const Node&)>& visit) {
  for (const Field& field : fields_of(message)) {
    for (const Message* child : messages(message, field)) {
      if (child->descriptor == &pg_query__node__descriptor)
        visit(*reinterpret_cast<const Node*>(child));
      else
        for_each_child(*child, visit);
    }
  }
}

void for_each_relation(const Message& message, const std::function<void(const PgQuery__RangeVar&)>& visit) {
  if (message.descriptor == &pg_query__range_var__descriptor)
    return visit(reinterpret_cast<const PgQuery__RangeVar&>(message));
  for (const Field& field : fields_of(message))
    for (const Message* child : messages(message, field)) for_each_relation(*child, visit);
}

bool same_tree(const Message& a, const Message& b) {
  if (a.descriptor != b.descriptor) return false;
  for (const Field& field : fields_of(a)) {
    if (is_location(field)) continue;
    if (is_set(a, field) != is_set(b, field)) return false;
    if (!is_set(a, field)) continue;
    if (field.type != PROTOBUF_C_TYPE_MESSAGE) {
      if (field.label == PROTOBUF_C_LABEL_REPEATED || !same_scalar(a, b, field)) return false;
      continue;
    }
    const auto left = messages(a, field), right = messages(b, field);
    if (!std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const Message* x, const Message* y) { return same_tree(*x, *y); }))
      return false;
  }
  return true;
}

const Message* inner(const Node* node) {
  if (node == nullptr || node->node_case == PG_QUERY__NODE__NODE__NOT_SET) return nullptr;
  return reinterpret_cast<const Message*>(node->alias);  // every member of the union is a message pointer
}

std::string kind_name(const Node* node) {
  const Message* message = inner(node);
  return message == nullptr ? "empty node" : message->descriptor->short_name;
}

int location_of(const Message& message) {
  for (const Field& field : fields_of(message))
    if (std::strcmp(field.name, "location") == 0) return at<std::int32_t>(message, field.offset);
  if (message.descriptor == &pg_query__node__descriptor) {
    const Message* in = inner(reinterpret_cast<const Node*>(&message));
    return in == nullptr ? -1 : location_of(*in);
  }
  return -1;
}

std::vector<std::string> strings(std::span<Node* const> list) {
  std::vector<std::string> out;
  for (const Node* node : list)
    if (node->node_case == PG_NODE(STRING)) out.emplace_back(node->string->sval);
  return out;
}

}  // namespace outlast::pgtree
