package org.lethe.format;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The header of a GGUF file (versions 2 and 3, little-endian): what it says about the model and its
 * tokenizer, and where its tensors lie. Opening reads the header alone and checks every count and
 * offset against the file before anything is allocated; nothing stays open.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">the specification</a>
 */
public final class Gguf {
  static final int MAGIC = 0x46554747; // "GGUF"

  /** The longest header that is read; a Llama 3 vocabulary takes 8 MB. */
  private static final long LONGEST_HEADER = 100_000_000;

  private static final long MOST_TENSORS = 100_000;
  private static final long MOST_KEYS = 100_000;
  private static final long LONGEST_NAME = 65_535;
  private static final long MOST_ELEMENTS = 1 << 22;
  private static final int LARGEST_ALIGNMENT = 1 << 20;
  static final int DEFAULT_ALIGNMENT = 32;

  /** Names of the element types by their number, for messages about those that are not read. */
  private static final List<String> GGML_TYPES =
      List.of(
          "F32",
          "F16",
          "Q4_0",
          "Q4_1",
          "Q4_2",
          "Q4_3",
          "Q5_0",
          "Q5_1",
          "Q8_0",
          "Q8_1",
          "Q2_K",
          "Q3_K",
          "Q4_K",
          "Q5_K",
          "Q6_K",
          "Q8_K",
          "IQ2_XXS",
          "IQ2_XS",
          "IQ3_XXS",
          "IQ1_S",
          "IQ4_NL",
          "IQ3_S",
          "IQ2_S",
          "IQ4_XS",
          "I8",
          "I16",
          "I32",
          "I64",
          "F64",
          "IQ1_M",
          "BF16",
          "Q4_0_4_4",
          "Q4_0_4_8",
          "Q4_0_8_8",
          "TQ1_0",
          "TQ2_0",
          "IQ4_NL_4_4",
          "IQ4_NL_4_8",
          "IQ4_NL_8_8",
          "MXFP4");

  /**
   * A tensor: its shape with rows first (GGUF counts columns first), its bytes from the file's
   * start.
   */
  record Entry(String name, StoredType type, List<Long> shape, long offset, long bytes) {}

  private final Path path;
  private final Map<String, Object> metadata;
  private final List<Entry> tensors;

  private Gguf(Path path, Map<String, Object> metadata, List<Entry> tensors) {
    this.path = path;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /**
   * Reads the header of {@code file}.
   *
   * @throws ModelFormatException where it is missing or malformed
   */
  public static Gguf open(Path file) {
    try (FileChannel channel = FileChannel.open(file);
        Arena arena = Arena.ofConfined()) {
      long size = channel.size();
      MemorySegment header =
          channel.map(MapMode.READ_ONLY, 0, Math.min(size, LONGEST_HEADER), arena);
      return new Parser(file, header, size).parse();
    } catch (IOException e) {
      throw ModelFormatException.of(file, e);
    }
  }

  /** The file. */
  public Path path() {
    return path;
  }

  /**
   * The key-value pairs, in file order. Integers of up to 32 bits come as {@link Integer} (an
   * unsigned one beyond its range as {@link Long}), of 64 bits as {@link Long}; then {@link Float},
   * {@link Double}, {@link Boolean}, {@link String}. Arrays come as {@code byte[]}, {@code
   * short[]}, {@code int[]}, {@code long[]}, {@code float[]}, {@code double[]}, {@code boolean[]}
   * (unsigned elements with their bits), those of strings as {@code List<String>}, nested ones as
   * {@code List<Object>}.
   */
  public Map<String, Object> metadata() {
    return metadata;
  }

  List<Entry> tensors() {
    return tensors;
  }

  /** Walks through the header; every step first makes sure that the bytes are there. */
  private static final class Parser {
    private static final int STRING = 8;
    private static final int ARRAY = 9;
    private static final int DEEPEST = 4;

    /** Bytes of a value of each kind; of a string or an array, the least they take. */
    private static final int[] SIZES = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

    private final Path file;
    private final ByteBuffer header;
    private final long size;

    Parser(Path file, MemorySegment header, long size) {
      this.file = file;
      this.header = header.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      this.size = size;
    }

    Gguf parse() {
      if (size < 4 || header.getInt() != MAGIC) {
        throw problem("is no GGUF file: it does not begin with GGUF");
      }
      need(20, "its first 24 bytes");
      int version = header.getInt();
      if (Integer.reverseBytes(version) == 2 || Integer.reverseBytes(version) == 3) {
        throw problem("is a big-endian GGUF; little-endian ones are read");
      }
      if (version != 2 && version != 3) {
        throw problem(
            "is GGUF version " + Integer.toUnsignedString(version) + "; 2 and 3 are read");
      }
      long tensorCount = count(MOST_TENSORS, "tensors", 24);
      long keyCount = count(MOST_KEYS, "metadata keys", 13);
      Map<String, Object> metadata = LinkedHashMap.newLinkedHashMap((int) keyCount);
      for (long i = 0; i < keyCount; i++) {
        String key = name("metadata key " + i);
        if (metadata.put(key, value(key)) != null) {
          throw problem("metadata key '" + key + "' comes twice");
        }
      }
      return new Gguf(
          file,
          Collections.unmodifiableMap(metadata),
          tensors((int) tensorCount, alignment(metadata)));
    }

    private int alignment(Map<String, Object> metadata) {
      Object value = metadata.getOrDefault("general.alignment", DEFAULT_ALIGNMENT);
      if (!(value instanceof Integer n)
          || Integer.bitCount(n) != 1
          || n < 1
          || n > LARGEST_ALIGNMENT) {
        throw problem(
            "general.alignment is %s, must be a power of two up to %d"
                .formatted(value, LARGEST_ALIGNMENT));
      }
      return n;
    }

    private List<Entry> tensors(int count, int alignment) {
      Map<String, Entry> entries = LinkedHashMap.newLinkedHashMap(count);
      for (int i = 0; i < count; i++) {
        Entry entry = entry(name("tensor " + i), alignment);
        if (entries.put(entry.name(), entry) != null) {
          throw problem("tensor '" + entry.name() + "' comes twice");
        }
      }
      long start = align(header.position(), alignment);
      List<Entry> placed = new ArrayList<>(count);
      for (Entry e : entries.values()) {
        if (start > size || e.offset() > size - start || e.bytes() > size - start - e.offset()) {
          throw problem(
              "tensor '%s' ends beyond the file: offset %s, %d bytes, %d bytes of tensors in the file"
                  .formatted(
                      e.name(),
                      Long.toUnsignedString(e.offset()),
                      e.bytes(),
                      Math.max(0, size - start)));
        }
        placed.add(new Entry(e.name(), e.type(), e.shape(), start + e.offset(), e.bytes()));
      }
      refuseOverlaps(placed);
      return List.copyOf(placed);
    }

    private void refuseOverlaps(List<Entry> entries) {
      List<Entry> sorted = new ArrayList<>(entries);
      sorted.sort(Comparator.comparingLong(Entry::offset));
      for (int i = 1; i < sorted.size(); i++) {
        Entry before = sorted.get(i - 1);
        if (sorted.get(i).offset() < before.offset() + before.bytes()) {
          throw problem(
              "tensors '%s' and '%s' overlap".formatted(before.name(), sorted.get(i).name()));
        }
      }
    }

    /** A tensor's entry, its offset still counted from the start of the tensor data. */
    private Entry entry(String name, int alignment) {
      need(4, "the shape of tensor '" + name + "'");
      int dimensions = header.getInt();
      if (dimensions < 1 || dimensions > 4) {
        throw problem(
            "tensor '%s' has %s dimensions, must have 1 to 4"
                .formatted(name, Integer.toUnsignedString(dimensions)));
      }
      need(8L * dimensions + 12, "the entry of tensor '" + name + "'");
      List<Long> shape = new ArrayList<>(dimensions);
      long elements = 1;
      for (int i = 0; i < dimensions; i++) {
        long extent = header.getLong();
        if (extent < 1 || extent > Long.MAX_VALUE / 8 / elements) {
          throw problem(
              "tensor '%s' has an impossible shape: dimension %d is %s"
                  .formatted(name, i, Long.toUnsignedString(extent)));
        }
        elements *= extent;
        shape.addFirst(extent);
      }
      StoredType type = type(name, header.getInt());
      if (shape.getLast() % type.blockElements() != 0) {
        throw problem(
            "tensor '%s' is %s with rows of %d elements, no multiple of %d"
                .formatted(name, type, shape.getLast(), type.blockElements()));
      }
      long offset = header.getLong();
      if (offset < 0 || offset % alignment != 0) {
        throw problem(
            "tensor '%s' has offset %s, must be a multiple of %d"
                .formatted(name, Long.toUnsignedString(offset), alignment));
      }
      return new Entry(name, type, List.copyOf(shape), offset, type.bytes(elements));
    }

    private StoredType type(String name, int code) {
      for (StoredType type : StoredType.values()) {
        if (type.ggmlCode() == code) {
          return type;
        }
      }
      throw problem(
          "tensor '%s' is stored as %s; %s are read"
              .formatted(
                  name,
                  code >= 0 && code < GGML_TYPES.size()
                      ? GGML_TYPES.get(code)
                      : "unknown type " + Integer.toUnsignedString(code),
                  Arrays.stream(StoredType.values())
                      .map(Enum::name)
                      .collect(Collectors.joining(", "))));
    }

    private Object value(String key) {
      need(4, "the value of '" + key + "'");
      int kind = header.getInt();
      return kind == ARRAY ? array(key, 1) : scalar(key, kind);
    }

    private Object scalar(String key, int kind) {
      if (kind == STRING) {
        return string(LONGEST_HEADER, "the value of '" + key + "'");
      }
      need(size(key, kind), "the value of '" + key + "'");
      return switch (kind) {
        case 0 -> header.get() & 0xff;
        case 1 -> (int) header.get();
        case 2 -> header.getShort() & 0xffff;
        case 3 -> (int) header.getShort();
        case 4 -> unsigned(header.getInt());
        case 5 -> header.getInt();
        case 6 -> header.getFloat();
        case 7 -> header.get() != 0;
        case 12 -> header.getDouble();
        default -> header.getLong(); // 10, 11: 64 bits, unsigned or not
      };
    }

    private static Object unsigned(int bits) {
      if (bits < 0) {
        return Integer.toUnsignedLong(bits);
      }
      return bits;
    }

    private int size(String key, int kind) {
      if (kind < 0 || kind >= SIZES.length) {
        throw problem(
            "'%s' has a value of unknown kind %s".formatted(key, Integer.toUnsignedString(kind)));
      }
      return SIZES[kind];
    }

    private Object array(String key, int depth) {
      if (depth > DEEPEST) {
        throw problem("'" + key + "' nests arrays deeper than " + DEEPEST);
      }
      need(12, "the array '" + key + "'");
      int kind = header.getInt();
      int n = (int) count(MOST_ELEMENTS, "elements of '" + key + "'", size(key, kind));
      return switch (kind) {
        case 0, 1 -> {
          byte[] bytes = new byte[n];
          header.get(bytes);
          yield bytes;
        }
        case 2, 3 -> {
          short[] shorts = new short[n];
          header.asShortBuffer().get(shorts);
          yield skip(2 * n, shorts);
        }
        case 4, 5 -> {
          int[] ints = new int[n];
          header.asIntBuffer().get(ints);
          yield skip(4 * n, ints);
        }
        case 6 -> {
          float[] floats = new float[n];
          header.asFloatBuffer().get(floats);
          yield skip(4 * n, floats);
        }
        case 7 -> {
          boolean[] booleans = new boolean[n];
          for (int i = 0; i < n; i++) {
            booleans[i] = header.get() != 0;
          }
          yield booleans;
        }
        case 10, 11 -> {
          long[] longs = new long[n];
          header.asLongBuffer().get(longs);
          yield skip(8 * n, longs);
        }
        case 12 -> {
          double[] doubles = new double[n];
          header.asDoubleBuffer().get(doubles);
          yield skip(8 * n, doubles);
        }
        default -> list(key, kind, n, depth);
      };
    }

    private Object skip(int bytes, Object array) {
      header.position(header.position() + bytes);
      return array;
    }

    private List<Object> list(String key, int kind, int n, int depth) {
      List<Object> list = new ArrayList<>(n);
      for (int i = 0; i < n; i++) {
        list.add(kind == ARRAY ? array(key, depth + 1) : scalar(key, kind));
      }
      return Collections.unmodifiableList(list);
    }

    private String name(String what) {
      return string(LONGEST_NAME, "the name of " + what);
    }

    private String string(long longest, String what) {
      need(8, what);
      long length = header.getLong();
      if (length < 0 || length > longest) {
        throw problem(
            "%s is %s bytes long, at most %d are read"
                .formatted(what, Long.toUnsignedString(length), longest));
      }
      need(length, what);
      ByteBuffer bytes = header.slice(header.position(), (int) length);
      header.position(header.position() + (int) length);
      try {
        return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
      } catch (CharacterCodingException e) {
        throw problem(what + " is not UTF-8");
      }
    }

    /** A count of things that take at least {@code least} bytes each. */
    private long count(long most, String what, int least) {
      long n = header.getLong();
      if (n < 0 || n > most || n > header.remaining() / least) {
        throw problem(
            "says it has %s %s, which do not fit into its %d bytes"
                .formatted(Long.toUnsignedString(n), what, size));
      }
      return n;
    }

    private void need(long bytes, String what) {
      if (bytes > header.remaining()) {
        throw problem(
            size > header.capacity()
                ? "has a header of more than " + LONGEST_HEADER + " bytes"
                : "is truncated: it ends inside " + what);
      }
    }

    private ModelFormatException problem(String what) {
      return new ModelFormatException(file, what);
    }
  }

  static long align(long position, int alignment) {
    return (position + alignment - 1) / alignment * alignment;
  }
}
