// Classes to make images of: an id that everything goes by (noise, folders, manifests), and what prompts say of the class.
//
//   imagenet1k, imagenet100   tables that ship: WordNet's ids, names, definitions and hypernyms (data/classes/README.md)
//   a JSON file   a list of names; a list of objects with id, name or names, definition, hypernym; or an object {id: name}, of
//                 which the classes are in the order of the ids: that of numbers where all ids are whole numbers, else of text
//   a text file   a class a line: name, or id, name and, if known, definition, with tabs between them
//
// Ids are unique; names may repeat. Where a file gives no id, the name is the id. Labels count in the order of the list. A file
// is JSON where it begins with [ or {.
#pragma once

#include <string>
#include <vector>

namespace mindgap {

struct PromptClass {
  std::string id;
  std::vector<std::string> names;    // at least one; the first is the name
  std::string definition, hypernym;  // empty: not known

  bool operator==(const PromptClass&) const = default;
};

// Throws unless there are classes, ids are unique, and all text is valid UTF-8 without control characters, ids and names not
// empty.
std::vector<PromptClass> read_classes(const std::string& name_or_file);

// A name for a folder of any id, different for different ids. Plain ids stay as they are; what a file system or a shell may take
// amiss (a slash, a leading dot, control characters, bytes that are not UTF-8, characters that Windows refuses) is written as
// %2F. More than 200 bytes are cut and end in a hash of the id, so that these alone cannot be read back.
std::string folder_name(const std::string& id);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/text/classes.ipp>
#endif
