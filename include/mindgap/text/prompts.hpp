// Prompts for the images of a class.
//
//   name                  {name}
//   name-definition       {name}, {definition}
//   name-hypernym         {name}, {hypernym}
//   hypernym-background   {name}, {hypernym} inside {background}
//                         (Sariyildiz, Alahari, Larlus, Kalantidis, "Fake it till you make it: learning transferable
//                         representations from synthetic ImageNet clones", CVPR 2023, has these four)
//   clip                  one of the 80 templates of CLIP (Radford et al. 2021), as "a photo of a {name}."
//   a template            text with fields: {name} {names} {definition} {hypernym} {background} {id}; {{ and }} are braces
//   a captions file       a text file, a template a line, each for every class; or JSON, {class id: [template, ...]}
//
// {name} is the class's first name, {names} are all, with commas; {background} is one of 365 scenes, the classes of Places365
// (data/prompts/README.md). Where there is a choice, an image's own random stream makes it, so that an image's prompt depends on
// nothing else.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/text/classes.hpp>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

class PromptSet {
 public:
  // One of the above: a name, a file, else a template.
  static PromptSet read(const std::string& spec);

  // choice: of this image alone, as Stream(seed, "prompt", hash64(c.id), index). Throws where the class lacks what a prompt of
  // the set says of it.
  std::string prompt(const PromptClass& c, const Stream& choice) const;

  // A hash of all that the class's prompts can be, which says whether a set that was begun goes on as it was; throws as prompt()
  // does for any of them.
  std::string hash(const PromptClass& c) const;

  // All prompts that the class can have; throws as prompt() does for any of them.
  std::set<std::string> all(const PromptClass& c) const;

 private:
  // Text, then a field, again and again; the last field is empty.
  struct Part {
    std::string text, field;
  };
  struct Template {
    std::string source;  // for messages
    std::vector<Part> parts;

    bool has(std::string_view field) const;
  };

  static Template parse(const std::string& source);
  const std::vector<Template>& of(const PromptClass& c) const;
  std::string filled(const Template& t, const PromptClass& c, const std::string& background) const;

  std::string file_;                                  // of captions, for messages
  std::vector<Template> every_;                       // for every class
  std::map<std::string, std::vector<Template>> own_;  // by class id; instead of the above
  std::vector<std::string> backgrounds_;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/text/prompts.ipp>
#endif
