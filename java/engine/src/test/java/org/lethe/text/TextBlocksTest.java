package org.lethe.text;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TextBlocksTest {
  private static final int BOS = TinyTokenizer.BOS;
  private static final String WHALE = Character.toString(0x1F40B);

  @TempDir Path folder = Path.of("");

  private Path file(String name, byte[] bytes) throws IOException {
    return Files.write(folder.resolve(name), bytes);
  }

  private Path file(String name, String text) throws IOException {
    return file(name, text.getBytes(UTF_8));
  }

  private static List<Integer> lengths(List<String> pieces) {
    return pieces.stream().map(piece -> piece.codePointCount(0, piece.length())).toList();
  }

  @Test
  void aShortTextIsOnePiece() {
    assertEquals(List.of("Call me Ishmael."), TextBlocks.pieces("Call me Ishmael."));
    assertEquals(List.of("x".repeat(10_000)), TextBlocks.pieces("x".repeat(10_000)));
    assertEquals(List.of(), TextBlocks.pieces(""));
  }

  @Test
  void theLastWhiteSpaceOpensTheNextPiece() {
    String text = "a".repeat(6_000) + " " + "b".repeat(3_000) + "\n" + "c".repeat(6_000);
    List<String> pieces = TextBlocks.pieces(text);
    assertEquals(List.of(9_001, 6_001), lengths(pieces));
    assertEquals("\nc", pieces.get(1).substring(0, 2));
    assertEquals(text, String.join("", pieces));
  }

  @Test
  void whiteSpaceRightAtTheLimitCutsThere() {
    String text = "a".repeat(10_000) + " " + "b".repeat(10);
    assertEquals(List.of(10_000, 11), lengths(TextBlocks.pieces(text)));
  }

  @Test
  void whiteSpaceBehindTheLimitIsTooLate() {
    String text = "a ".repeat(3) + "b".repeat(9_995) + " c";
    assertEquals(List.of(5, 9_998), lengths(TextBlocks.pieces(text)));
  }

  @Test
  void withoutWhiteSpaceTheLimitCuts() {
    assertEquals(List.of(10_000, 10_000, 1), lengths(TextBlocks.pieces("x".repeat(20_001))));
  }

  @Test
  void whiteSpaceThatOpensAPieceDoesNotCutItAgain() {
    String text = "a".repeat(10_000) + " " + "b".repeat(15_000);
    assertEquals(List.of(10_000, 10_000, 5_001), lengths(TextBlocks.pieces(text)));
  }

  @Test
  void piecesAreCountedInCodePointsAndPairsStayWhole() {
    String text = "x" + WHALE.repeat(20_001);
    List<String> pieces = TextBlocks.pieces(text);
    assertEquals(List.of(10_000, 10_000, 2), lengths(pieces));
    assertEquals(text, String.join("", pieces));
    assertEquals(List.of(10_000, 10_000), lengths(TextBlocks.pieces(WHALE.repeat(20_000))));
    String spaced = WHALE.repeat(9_000) + " " + WHALE.repeat(2_000);
    assertEquals(List.of(9_000, 2_001), lengths(TextBlocks.pieces(spaced)));
  }

  @Test
  void aByteOrderMarkIsDroppedAndLinesEndInLf() throws IOException {
    Path text = file("text.txt", "\uFEFFone\r\ntwo\rthree\n\uFEFFfour\r\n");
    assertEquals("one\ntwo\rthree\n\uFEFFfour\n", TextBlocks.read(text));
  }

  @Test
  void crlfCountsAsOneCharacterBeforePiecesAreCut() throws IOException {
    // As LF the text has 10,000 code points and is one piece; as CRLF it would have one more.
    Path text = file("text.txt", "a".repeat(9_998) + "\r\n" + "b");
    assertEquals(1, TextBlocks.pieces(TextBlocks.read(text)).size());
    Path longer = file("longer.txt", "a".repeat(10_000) + "\r\nb");
    assertEquals("\nb", TextBlocks.pieces(TextBlocks.read(longer)).get(1));
  }

  @Test
  void malformedBytesAreRefusedWithTheirOffset() throws IOException {
    assertMalformed(4, 'g', 'o', 'o', 'd', 0xFF, 'x');
    assertMalformed(1, 'x', 0xC3); // cut off at the end
    assertMalformed(0, 0xC0, 0x80); // overlong
    assertMalformed(3, 0xE2, 0x98, 0x83, 0xED, 0xA0, 0x80); // half a surrogate pair
  }

  private void assertMalformed(int offset, int... bytes) throws IOException {
    byte[] raw = new byte[bytes.length];
    IntStream.range(0, raw.length).forEach(i -> raw[i] = (byte) bytes[i]);
    Path text = file("text.txt", raw);
    TextException refused = assertThrows(TextException.class, () -> TextBlocks.read(text));
    assertEquals(
        "%s: malformed UTF-8 at byte %d (0x%02x): save the text as UTF-8"
            .formatted(text, offset, bytes[offset]),
        refused.getMessage());
  }

  @Test
  void aMissingFileIsNamed() {
    Path text = folder.resolve("nothing.txt");
    TextException refused = assertThrows(TextException.class, () -> TextBlocks.read(text));
    assertEquals(text + ": does not exist", refused.getMessage());
  }

  @Test
  void everyPieceOfEveryFileStartsWithBos() throws IOException {
    Path one = file("one.txt", "a".repeat(10_000) + " b");
    Path empty = file("empty.txt", "");
    Path two = file("two.txt", "c");
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      int[] tokens =
          TextBlocks.of(tokenizer, BOS, TextBlocks.Cutting.once(20_000), List.of(one, empty, two))
              .getFirst();
      int[] bos = IntStream.range(0, tokens.length).filter(i -> tokens[i] == BOS).toArray();
      assertArrayEquals(new int[] {0, 10_001, 10_004}, bos);
      assertArrayEquals(new int[] {'c'}, Arrays.copyOfRange(tokens, 10_005, tokens.length));
    }
  }

  @Test
  void blocksAreCutAndAShortLastOneIsDropped() {
    assertEquals(List.of(512, 512), blockLengths(1_024, 512));
    assertEquals(List.of(512, 512), blockLengths(1_024 + 63, 512));
    assertEquals(List.of(512, 512, 64), blockLengths(1_024 + 64, 512));
    assertEquals(List.of(64), blockLengths(64, 512));
    assertEquals(List.of(), blockLengths(63, 512));
    assertEquals(List.of(8, 8), blockLengths(23, 8));
    assertEquals(List.of(8, 8, 8), blockLengths(24, 8));
    assertEquals(List.of(), blockLengths(0, 8));
  }

  private static List<Integer> blockLengths(int tokens, int block) {
    return TextBlocks.cut(IntStream.range(0, tokens).toArray(), TextBlocks.Cutting.once(block))
        .stream()
        .map(b -> b.length)
        .toList();
  }

  @Test
  void blocksHoldTheTokensInOrder() {
    List<int[]> blocks =
        TextBlocks.cut(IntStream.range(0, 200).toArray(), TextBlocks.Cutting.once(128));
    assertArrayEquals(IntStream.range(0, 128).toArray(), blocks.get(0));
    assertArrayEquals(IntStream.range(128, 200).toArray(), blocks.get(1));
  }

  @Test
  void eachCutBeginsLaterAndHoldsEveryTokenOnce() {
    int[] tokens = IntStream.range(0, 40).toArray();
    List<int[]> blocks = TextBlocks.cut(tokens, new TextBlocks.Cutting(8, 4));
    assertEquals(4 * 5, blocks.size());
    for (int cut = 0; cut < 4; cut++) {
      int[] held =
          blocks.subList(cut * 5, cut * 5 + 5).stream().flatMapToInt(IntStream::of).toArray();
      for (int i = 0; i < 40; i++) {
        assertEquals((i + 2 * cut) % 40, held[i], "token " + i + " of cut " + cut);
      }
    }
    assertThrows(IllegalArgumentException.class, () -> new TextBlocks.Cutting(8, 9));
    assertThrows(IllegalArgumentException.class, () -> new TextBlocks.Cutting(8, 0));
  }

  @Test
  void aTextTooShortForABlockIsAnError() throws IOException {
    Path text = file("short.txt", "short");
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      TextException refused =
          assertThrows(
              TextException.class,
              () -> TextBlocks.of(tokenizer, BOS, TextBlocks.Cutting.once(512), List.of(text)));
      assertEquals(
          text + ": the text has 6 tokens, a block takes at least 64: give more text",
          refused.getMessage());
      assertThrows(
          IllegalArgumentException.class,
          () -> TextBlocks.of(tokenizer, BOS, TextBlocks.Cutting.once(0), List.of(text)));
    }
  }
}
