#include "csrc/text/byte_trie.h"

#include <algorithm>
#include <string>

namespace pelton {

// Keys [begin, end) share their first `depth` bytes, which are the state `node`.
struct ByteTrie::Pending {
  State node;
  size_t begin;
  size_t end;
  size_t depth;
};

// A key behind its first bytes as a number, by which most comparisons are decided.
struct ByteTrie::Sorted {
  uint64_t head;
  Entry entry;

  explicit Sorted(const Entry& given) : head(0), entry(given) {
    for (size_t i = 0; i < 8; ++i) {
      const bool inside = i < given.key.size();
      head = (head << 8) | (inside ? static_cast<uint8_t>(given.key[i]) : 0);
    }
  }
  bool operator<(const Sorted& other) const {
    return head != other.head ? head < other.head : entry.key < other.entry.key;
  }
};

Result<ByteTrie> ByteTrie::create(const std::vector<Entry>& entries) {
  std::vector<Sorted> keys(entries.begin(), entries.end());
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(
      keys.begin(), keys.end(),
      [](const Sorted& a, const Sorted& b) { return a.entry.key == b.entry.key; });
  if (twice != keys.end()) {
    return invalid_argument("expected distinct tokens, got '" + std::string(twice->entry.key) +
                            "' twice");
  }
  return ByteTrie(keys);
}

ByteTrie::ByteTrie(const std::vector<Sorted>& keys) {
  grow(512);
  std::vector<Pending> pending;
  if (!keys.empty()) pending.push_back({kRoot, 0, keys.size(), 0});
  std::vector<uint8_t> labels;
  std::vector<size_t> begins;
  while (!pending.empty()) {
    auto [node, begin, end, depth] = pending.back();
    pending.pop_back();
    if (keys[begin].entry.key.size() == depth) {
      nodes_[node].base_and_key |= 1;
      values_[node] = keys[begin].entry.value;
      if (++begin == end) continue;
    }
    labels.clear();
    begins.clear();
    for (size_t i = begin; i < end; ++i) {
      const auto label = static_cast<uint8_t>(keys[i].entry.key[depth]);
      if (!labels.empty() && labels.back() == label) continue;
      labels.push_back(label);
      begins.push_back(i);
    }
    begins.push_back(end);
    const State base = find_base(labels);
    nodes_[node].base_and_key |= base << 1;
    for (size_t i = 0; i < labels.size(); ++i) {
      nodes_[base + labels[i]].parent = node;
      pending.push_back({base + labels[i], begins[i], begins[i + 1], depth + 1});
    }
  }
}

void ByteTrie::grow(size_t count) {
  nodes_.resize(count);
  values_.resize(count);
}

// Room for children at base + label, and for every byte to be looked up there.
ByteTrie::State ByteTrie::find_base(const std::vector<uint8_t>& labels) {
  constexpr State kSearchMax = 1024;  // after so many the room below is given up
  const State begin = first_free_;
  for (State place = begin;; ++place) {
    if (place + 512 > nodes_.size()) grow(nodes_.size() * 2);
    if (nodes_[place].parent != kNone) {
      if (place == first_free_) ++first_free_;
      continue;
    }
    const State base = place - labels.front();
    const bool fits = std::all_of(labels.begin(), labels.end(), [&](uint8_t label) {
      return nodes_[base + label].parent == kNone;
    });
    if (fits) {
      if (place - begin > kSearchMax) first_free_ = place;
      return base;
    }
  }
}

}  // namespace pelton
