package org.lethe.unlearn;

import java.util.ArrayList;
import java.util.List;
import org.lethe.kernels.Kernels;

/**
 * A block for a person to read: each token, what it became in translation, and the label that takes
 * its place as target, under each other.
 *
 * <pre>
 * text    Call ▁me [▁Is] [hma] el  .
 * generic Call ▁me  ▁Jo   hn       .
 * label   ·    ▁me  ▁Jo   ·    ·   .
 * </pre>
 *
 * <p>{@code [x]} is an unmapped position: what follows x is not trained, so the next token has no
 * label, {@code ·}. A leading space shows as {@code ▁}.
 */
public final class BlockView {
  private static final List<String> ROWS = List.of("text    ", "generic ", "label   ");
  private static final String NOTHING = "·";

  private BlockView() {}

  /** A token to the text it stands for. */
  @FunctionalInterface
  public interface Decoder {
    /** The text of one token. */
    String decode(int token);
  }

  /** What stands under each other, one string a row. */
  private record Column(String text, String generic, String label) {
    int width() {
      return Math.max(width(text), Math.max(width(generic), width(label)));
    }

    static int width(String cell) {
      return cell.codePointCount(0, cell.length());
    }

    String cell(int row) {
      String cell = row == 0 ? text : row == 1 ? generic : label;
      return cell + " ".repeat(width() - width(cell) + 1);
    }
  }

  /**
   * Renders a block.
   *
   * @param block (T) its tokens
   * @param labels (T) as {@link GenericLabels} has them
   * @param width of a line in characters, where its columns can be broken
   */
  public static String render(
      int[] block, BlockTranslation translation, int[] labels, Decoder decoder, int width) {
    var out = new StringBuilder();
    var line = new ArrayList<Column>();
    int used = ROWS.get(0).length();
    for (Column column : columns(block, translation, labels, decoder)) {
      if (!line.isEmpty() && used + column.width() > width) {
        append(out, line);
        line.clear();
        used = ROWS.get(0).length();
      }
      line.add(column);
      used += column.width() + 1;
    }
    append(out, line);
    return out.toString();
  }

  private static void append(StringBuilder out, List<Column> line) {
    for (int row = 0; row < ROWS.size(); row++) {
      var text = new StringBuilder(ROWS.get(row));
      for (Column column : line) {
        text.append(column.cell(row));
      }
      out.append(text.toString().stripTrailing()).append('\n');
    }
    out.append('\n');
  }

  /** A column for each token of the text, and more where a stand-in has more tokens. */
  private static List<Column> columns(
      int[] block, BlockTranslation translation, int[] labels, Decoder decoder) {
    var columns = new ArrayList<Column>();
    int i = 0;
    int j = 0;
    for (BlockTranslation.Match match : translation.matches()) {
      while (i < match.start()) {
        columns.add(column(block, i++, translation, j++, labels, decoder));
      }
      int end = i + match.length();
      int translatedEnd = j + match.translatedLength();
      while (i < end || j < translatedEnd) {
        columns.add(
            column(
                block,
                i < end ? i++ : -1,
                translation,
                j < translatedEnd ? j++ : -1,
                labels,
                decoder));
      }
    }
    while (i < block.length) {
      columns.add(column(block, i++, translation, j++, labels, decoder));
    }
    return columns;
  }

  /** Original position {@code i} beside translated position {@code j}; -1 leaves a gap. */
  private static Column column(
      int[] block, int i, BlockTranslation translation, int j, int[] labels, Decoder decoder) {
    String text = i < 0 ? "" : shown(decoder.decode(block[i]));
    if (i >= 0 && translation.mapping()[i] == BlockTranslation.UNMAPPED) {
      text = "[" + text + "]";
    }
    String generic = j < 0 ? "" : shown(decoder.decode(translation.tokens()[j]));
    String label =
        i < 0 ? "" : labels[i] == Kernels.IGNORE ? NOTHING : shown(decoder.decode(labels[i]));
    return new Column(text, generic, label);
  }

  /** A token on one line: white space and control characters made visible. */
  private static String shown(String token) {
    var shown = new StringBuilder();
    token
        .codePoints()
        .forEach(
            c -> {
              switch (c) {
                case ' ' -> shown.append('▁');
                case '\n' -> shown.append("\\n");
                case '\t' -> shown.append("\\t");
                default -> {
                  if (Character.isISOControl(c)) {
                    shown.append("\\u%04x".formatted(c));
                  } else {
                    shown.appendCodePoint(c);
                  }
                }
              }
            });
    return shown.toString();
  }
}
