"""Makes data/classes/ again: python scripts/class_tables.py WORDNET_FOLDER IMAGENET_SYNSETS IMAGENET100

  WORDNET_FOLDER     with data.noun of WordNet 3.0: /usr/share/wordnet of Debian's wordnet-base
  IMAGENET_SYNSETS   the 1,000 ids, one a line: timm/data/_info/imagenet_synsets.txt of the Python package timm
  IMAGENET100        the 100 ids of Tian, Krishnan, Isola, "Contrastive multiview coding", 2020: imagenet100.txt of github.com/HobbitLong/CMC

An id of ImageNet is "n" and the offset of a synset's line in data.noun of WordNet 3.0. From that line come the names in their order, the
definition (the gloss without its examples) and, as hypernym, the first name of the first synset above. Classes are in the order of ids, as
torchvision numbers folders.
"""
import json
import os
import re
import sys

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "classes")


class WordNet:
    def __init__(self, folder):
        self.nouns = open(os.path.join(folder, "data.noun"), "rb").read()
        if b"WordNet 3.0 Copyright" not in self.nouns[:2000]:
            sys.exit("data.noun is not of WordNet 3.0: offsets of another version are other classes")

    def synset(self, offset):
        """offset lex_filenum ss_type w_cnt (word lex_id)... p_cnt (symbol offset pos source/target)... | gloss"""
        line = self.nouns[int(offset):self.nouns.index(b"\n", int(offset))].decode()
        fields, gloss = line.split(" | ")
        fields = fields.split()
        if fields[0] != offset or fields[2] != "n":
            sys.exit(f"there is no noun at {offset} of data.noun")
        count = int(fields[3], 16)
        names = [word.replace("_", " ") for word in fields[4:4 + 2 * count:2]]
        pointers = fields[5 + 2 * count:]
        above = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
        definition = re.split(r';\s*"', gloss.strip())[0].strip().rstrip(";")
        return names, definition, above


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    wordnet = WordNet(sys.argv[1])
    ids = sorted(open(sys.argv[2]).read().split())
    hundred = sorted(open(sys.argv[3]).read().split())
    assert len(set(ids)) == 1000 and len(set(hundred)) == 100 and set(hundred) <= set(ids)
    table = {}
    for wnid in ids:
        names, definition, above = wordnet.synset(wnid[1:])
        table[wnid] = {"id": wnid, "names": names, "definition": definition, "hypernym": wordnet.synset(above[0])[0][0]}
    os.makedirs(OUT, exist_ok=True)
    for name, members in (("imagenet1k", ids), ("imagenet100", hundred)):
        rows = ",\n".join(json.dumps(table[wnid], ensure_ascii=False) for wnid in members)
        open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8").write("[\n" + rows + "\n]\n")


if __name__ == "__main__":
    main()
