package org.lethe.unlearn;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Puts blocks of tokens into generic words (Eldan & Russinovich 2023, section 2.2). Blocks are
 * independent of each other: a block's translation depends on its tokens, its index, the dictionary
 * and the seed alone.
 */
public final class BlockTranslator {
  private final List<Entry> entries;
  private final long seed;

  private record Entry(String expression, TokenVariants key, List<Value> values) {}

  private record Value(String text, TokenVariants variants) {}

  /** The tokens of an entry's key that stand at some position, and those to replace them. */
  private record Hit(Entry entry, Value value, int[] key, int[] replacement) {}

  /**
   * A translator for all blocks of a text.
   *
   * @param seed of the draws of values
   * @throws IllegalArgumentException if the tokenizer gives an expression no tokens of its own
   */
  public BlockTranslator(AnchorDictionary dictionary, TokenVariants.Encoder encoder, long seed) {
    this.seed = seed;
    entries =
        dictionary.anchors().stream()
            .map(
                anchor ->
                    new Entry(
                        anchor.expression(),
                        TokenVariants.of(anchor.expression(), encoder),
                        anchor.values().stream()
                            .map(text -> new Value(text, TokenVariants.of(text, encoder)))
                            .toList()))
            .toList();
  }

  /**
   * Translates a block.
   *
   * @param block (T) its tokens
   * @param index its number in the text: within a block an expression always gets the same value,
   *     in another block perhaps another
   */
  public BlockTranslation translate(int[] block, long index) {
    List<Integer> translated = new ArrayList<>();
    int[] mapping = new int[block.length];
    Arrays.fill(mapping, BlockTranslation.UNMAPPED);
    Map<Integer, Integer> forbiddenAfter = new LinkedHashMap<>();
    List<BlockTranslation.Match> matches = new ArrayList<>();
    Set<String> seen = new HashSet<>();

    int i = 0;
    while (i < block.length) {
      Hit hit = hitAt(block, i, index);
      if (hit == null) {
        mapping[i] = translated.size();
        translated.add(block[i]);
        i++;
        continue;
      }
      boolean repeated = !seen.add(hit.entry.expression);
      if (repeated && i > 0) {
        mapping[i - 1] = BlockTranslation.UNMAPPED;
      }
      int p = translated.size();
      matches.add(
          new BlockTranslation.Match(
              hit.entry.expression,
              hit.value.text,
              i,
              hit.key.length,
              p,
              hit.replacement.length,
              repeated));
      // The earliest p stays: from there on the token is forbidden whatever comes later.
      forbiddenAfter.putIfAbsent(hit.value.variants.afterSpace()[0], p);
      forbiddenAfter.putIfAbsent(hit.value.variants.atLineStart()[0], p);
      for (int token : hit.replacement) {
        translated.add(token);
      }
      i += hit.key.length;
      mapping[i - 1] = translated.size() - 1;
    }
    return new BlockTranslation(
        ints(translated),
        mapping,
        ints(forbiddenAfter.keySet()),
        ints(forbiddenAfter.values()),
        List.copyOf(matches));
  }

  /**
   * The first entry in dictionary order of which a variant stands whole at position {@code i}.
   * Where both variants are the same tokens, it is the line-start one.
   */
  private @Nullable Hit hitAt(int[] block, int i, long index) {
    for (Entry entry : entries) {
      TokenVariants key = entry.key;
      if (!key.equal() && standsAt(block, i, key.afterSpace())) {
        Value value = value(entry, index);
        return new Hit(entry, value, key.afterSpace(), value.variants.afterSpace());
      }
      if (standsAt(block, i, key.atLineStart())) {
        Value value = value(entry, index);
        return new Hit(entry, value, key.atLineStart(), value.variants.atLineStart());
      }
    }
    return null;
  }

  private Value value(Entry entry, long index) {
    return entry.values.get(draw(seed, index, entry.expression, entry.values.size()));
  }

  private static boolean standsAt(int[] block, int i, int[] key) {
    return key.length <= block.length - i
        && Arrays.equals(block, i, i + key.length, key, 0, key.length);
  }

  /**
   * A number in [0, n) that depends on the arguments alone, so that other programs can draw it too:
   * {@code mix(mix(seed xor h) + block) mod n}, unsigned, with h the 64-bit FNV-1a hash of the
   * expression in UTF-8, and mix one output of SplitMix64 from that state (Steele, Lea & Flood
   * 2014).
   */
  static int draw(long seed, long block, String expression, int n) {
    long h = 0xcbf29ce484222325L;
    for (byte b : expression.getBytes(StandardCharsets.UTF_8)) {
      h = (h ^ (b & 0xff)) * 0x100000001b3L;
    }
    return (int) Long.remainderUnsigned(mix(mix(seed ^ h) + block), n);
  }

  private static long mix(long state) {
    long z = state + 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }

  private static int[] ints(Collection<Integer> numbers) {
    return numbers.stream().mapToInt(Integer::intValue).toArray();
  }
}
