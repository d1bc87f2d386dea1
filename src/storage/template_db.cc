#include "storage/template_db.h"

#include <cstring>

#include "storage/bytes.h"
#include "storage/log_format.h"

namespace outlast::storage {

// https://www.sqlite.org/fileformat2.html#the_database_header and #b_tree_pages
std::string template_database() {
  std::string page(kPageBytes, '\0');
  char* p = page.data();
  std::memcpy(p, "SQLite format 3", 16);
  p[16] = kPageBytes >> 8;
  p[18] = p[19] = 2;  // write and read version: WAL
  p[21] = 64;         // payload fractions, fixed by the format
  p[22] = p[23] = 32;
  put_be32(p + 24, 1);          // change counter
  put_be32(p + 28, 1);          // pages
  put_be32(p + 56, 1);          // UTF-8
  put_be32(p + 92, 1);          // version-valid-for = change counter
  put_be32(p + 96, 3'040'001);  // the SQLite version this layout was taken from
  p[100] = 0x0d;                // sqlite_schema: an empty table leaf
  p[105] = kPageBytes >> 8;     // its content area begins at the page's end
  return page;
}

}  // namespace outlast::storage
