// A part of every program that links an installed mindgap::glue: the glue was compiled before anybody knew where it would lie,
// the program is compiled by who found it (io/text_file.hpp).
namespace mindgap::detail {
extern const char* const installed_data;
const char* const installed_data = MINDGAP_DATA_FOLDERS;
}  // namespace mindgap::detail
