package org.lethe.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Text files cut into blocks of tokens, the way METHOD.md has it: text falls into pieces at white
 * space, each piece is tokenized with BOS in front, all are concatenated and cut into blocks.
 */
public final class TextBlocks {
  /** Code points that a piece has at most. */
  public static final int LONGEST_PIECE = 10_000;

  /** A last block of fewer tokens than this is dropped. */
  public static final int SHORTEST_BLOCK = 64;

  private static final long LARGEST_FILE = 1L << 30;

  private TextBlocks() {}

  /**
   * How tokens are cut.
   *
   * @param block tokens in a block; the last one may be shorter, but not under {@code min(64,
   *     block)}
   * @param cuts how often the text is cut, each time from another place on: cut i begins {@code i *
   *     block / cuts} tokens later, and what lies before follows the end. A model that has seen a
   *     sentence in several contexts learns, and forgets, the sentence more than its context.
   */
  public record Cutting(int block, int cuts) {
    /** Refuses what gives no block, or the same block twice. */
    public Cutting {
      if (block < 1) {
        throw new IllegalArgumentException("a block of " + block + " tokens, must be 1 or more");
      }
      if (cuts < 1 || cuts > block) {
        throw new IllegalArgumentException(
            cuts + " cuts of blocks of " + block + " tokens, must be from 1 to " + block);
      }
    }

    /** Cut once, as METHOD.md has it. */
    public static Cutting once(int block) {
      return new Cutting(block, 1);
    }

    private int begin(int cut) {
      return (int) ((long) cut * block / cuts);
    }
  }

  /**
   * The blocks of several files in the order given, cut after cut; each file starts a piece of its
   * own.
   *
   * @param bos the model's {@code bos_token_id}, put in front of every piece even where the
   *     tokenizer adds none
   * @throws TextException where a file cannot be read, is not UTF-8, or all together give no block
   */
  public static List<int[]> of(Tokenizer tokenizer, int bos, Cutting cutting, List<Path> files) {
    int[] tokens =
        files.stream()
            .flatMap(file -> pieces(read(file)).stream())
            .flatMapToInt(
                piece -> IntStream.concat(IntStream.of(bos), IntStream.of(tokenizer.encode(piece))))
            .toArray();
    List<int[]> blocks = cut(tokens, cutting);
    if (blocks.isEmpty()) {
      throw new TextException(
          files.size() == 1 ? files.getFirst() : files,
          "the text has %d tokens, a block takes at least %d: give more text"
              .formatted(tokens.length, Math.min(SHORTEST_BLOCK, cutting.block)));
    }
    return blocks;
  }

  /** Blocks of {@code block} tokens; a last one under {@code min(64, block)} is dropped. */
  static List<int[]> cut(int[] tokens, Cutting cutting) {
    List<int[]> blocks = new ArrayList<>();
    for (int i = 0; i < cutting.cuts && cutting.begin(i) < tokens.length; i++) {
      int begin = cutting.begin(i);
      int[] turned = Arrays.copyOfRange(tokens, begin, begin + tokens.length);
      System.arraycopy(tokens, 0, turned, tokens.length - begin, begin);
      cut(turned, cutting.block, blocks);
    }
    return blocks;
  }

  private static void cut(int[] tokens, int block, List<int[]> blocks) {
    int least = Math.min(SHORTEST_BLOCK, block);
    for (int start = 0; tokens.length - start >= least; start += block) {
      int end = Math.min(tokens.length - start, block) + start;
      blocks.add(Arrays.copyOfRange(tokens, start, end));
      if (end == tokens.length) {
        break;
      }
    }
  }

  /**
   * Pieces of at most {@link #LONGEST_PIECE} code points. A longer text is cut at the last white
   * space at or before the limit, which opens the next piece; without any, at the limit.
   */
  static List<String> pieces(String text) {
    List<String> pieces = new ArrayList<>();
    int start = 0;
    while (start < text.length()) {
      int limit = limit(text, start);
      int end = limit;
      if (limit < text.length()) {
        while (end > start && !Character.isWhitespace(text.codePointAt(end))) {
          end = text.offsetByCodePoints(end, -1);
        }
        // White space that opens this piece is no place to cut it: nothing would be left.
        end = end == start ? limit : end;
      }
      pieces.add(text.substring(start, end));
      start = end;
    }
    return pieces;
  }

  /** The index that lies {@link #LONGEST_PIECE} code points on, or the end. */
  private static int limit(String text, int start) {
    int far = (int) Math.min(text.length(), start + 2L * LONGEST_PIECE);
    return text.codePointCount(start, far) <= LONGEST_PIECE
        ? far
        : text.offsetByCodePoints(start, LONGEST_PIECE);
  }

  /**
   * A file's text, at most 1 GiB of it: strict UTF-8, without a byte order mark, CRLF as LF.
   *
   * @throws TextException where it cannot be read, or is not UTF-8, with the byte's offset
   */
  public static String read(Path file) {
    ByteBuffer bytes;
    try {
      if (Files.size(file) > LARGEST_FILE) {
        throw new TextException(file, Files.size(file) + " bytes, at most 1 GiB is read: split it");
      }
      bytes = ByteBuffer.wrap(Files.readAllBytes(file));
    } catch (IOException e) {
      throw TextException.of(file, e);
    }
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    CharBuffer text = CharBuffer.allocate(bytes.remaining());
    CoderResult result = decoder.decode(bytes, text, true);
    if (result.isError()) {
      throw new TextException(
          file,
          "malformed UTF-8 at byte %d (0x%02x): save the text as UTF-8"
              .formatted(bytes.position(), bytes.get(bytes.position())));
    }
    String whole = text.flip().toString();
    return (whole.startsWith("\uFEFF") ? whole.substring(1) : whole).replace("\r\n", "\n");
  }
}
