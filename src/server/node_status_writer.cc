#include "server/node_status_writer.h"

namespace outlast::server {

bool NodeStatusWriter::is_due(const meta::NodeStatusRecord& now) const {
  if (writing_ || (written_ && !meta::is_notable(*written_, now))) return false;
  const bool urgent =
      !written_ || (written_->buffer_bytes == 0) != (now.buffer_bytes == 0) || written_->inputs_open != now.inputs_open;
  return urgent || loop_.now() - written_at_ >= kPause;
}

void NodeStatusWriter::look(meta::NodeStatusRecord now) {
  if (!is_due(now)) return;
  writing_ = true;
  now.written_micros = loop_.wall_micros();
  meta::write_node_status(store_, now, [this, now, alive = std::weak_ptr(alive_)](const Result<void>& written) {
    if (alive.expired()) return;
    writing_ = false;
    if (!written.ok()) return;
    written_ = now;
    written_at_ = loop_.now();
  });
}

}  // namespace outlast::server
