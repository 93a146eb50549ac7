package org.lethe.format;

import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.util.ByteBufferBackedInputStream;

/**
 * The header of a safetensors file: 8 bytes that say how long it is, then JSON with a type, a shape
 * and a place for each tensor. The places must cover the rest of the file without holes or
 * overlaps.
 *
 * @see <a href="https://github.com/huggingface/safetensors">the specification</a>
 */
final class Safetensors {
  /** The longest header, as the specification has it. */
  private static final long LONGEST_HEADER = 100_000_000;

  private static final int MOST_TENSORS = 100_000;
  private static final int MOST_DIMENSIONS = 8;

  /**
   * A tensor; {@code type} is as the file names it, its bytes are counted from the file's start.
   */
  record Entry(String name, String type, List<Long> shape, long begin, long end) {}

  private final Path file;
  private final long dataStart;
  private final long dataBytes;

  private Safetensors(Path file, long dataStart, long dataBytes) {
    this.file = file;
    this.dataStart = dataStart;
    this.dataBytes = dataBytes;
  }

  /** The tensors of {@code file}, open as {@code channel}, by name. */
  static Map<String, Entry> entries(Path file, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size < 8) {
      throw new ModelFormatException(file, "is truncated: it has %d bytes".formatted(size));
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment start =
          channel.map(MapMode.READ_ONLY, 0, Math.min(size, LONGEST_HEADER + 8), arena);
      ByteBuffer buffer = start.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      long length = buffer.getLong();
      if (length < 2 || length > LONGEST_HEADER) {
        throw new ModelFormatException(
            file,
            "is no safetensors file: it says its header has %s bytes, which must be 2 to %d"
                .formatted(Long.toUnsignedString(length), LONGEST_HEADER));
      }
      if (length > size - 8) {
        throw new ModelFormatException(
            file,
            "is truncated: it says its header has %d bytes, %d follow".formatted(length, size - 8));
      }
      ByteBuffer header = buffer.slice(8, (int) length);
      if (header.get(0) != '{') {
        throw new ModelFormatException(
            file, "is no safetensors file: its header is no JSON object");
      }
      return new Safetensors(file, 8 + length, size - 8 - length).parse(header);
    }
  }

  private Map<String, Entry> parse(ByteBuffer header) {
    InputStreamReader utf8 =
        new InputStreamReader(
            new ByteBufferBackedInputStream(header), StandardCharsets.UTF_8.newDecoder());
    Map<String, Entry> entries = new LinkedHashMap<>();
    try (JsonParser parser = Json.MAPPER.createParser(utf8)) {
      parser.nextToken(); // the opening brace
      for (String name = parser.nextName(); name != null; name = parser.nextName()) {
        if (name.equals("__metadata__")) {
          parser.nextToken();
          parser.skipChildren();
        } else if (entries.size() == MOST_TENSORS) {
          throw problem("has more than " + MOST_TENSORS + " tensors");
        } else {
          entries.put(name, entry(name, parser));
        }
      }
      if (parser.nextToken() != null) {
        throw problem("has more in its header than one JSON object");
      }
    } catch (JacksonException e) {
      throw Json.malformed(file, e);
    }
    refuseHolesAndOverlaps(entries);
    return entries;
  }

  private Entry entry(String name, JsonParser parser) {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw problem("tensor '" + name + "' has no description");
    }
    @Nullable String type = null;
    @Nullable List<Long> shape = null;
    @Nullable List<Long> offsets = null;
    for (String key = parser.nextName(); key != null; key = parser.nextName()) {
      JsonToken token = parser.nextToken();
      switch (key) {
        case "dtype" -> {
          if (token != JsonToken.VALUE_STRING) {
            throw problem("tensor '" + name + "' has a dtype that is no string");
          }
          type = parser.getString();
        }
        case "shape" -> shape = numbers(name, key, parser);
        case "data_offsets" -> offsets = numbers(name, key, parser);
        default -> parser.skipChildren();
      }
    }
    if (type == null || shape == null || offsets == null || offsets.size() != 2) {
      throw problem("tensor '" + name + "' lacks its dtype, shape or two data_offsets");
    }
    return checked(name, type, shape, offsets.get(0), offsets.get(1));
  }

  private List<Long> numbers(String name, String key, JsonParser parser) {
    List<Long> numbers = new ArrayList<>();
    if (parser.currentToken() == JsonToken.START_ARRAY) {
      while (parser.nextToken() == JsonToken.VALUE_NUMBER_INT && numbers.size() < MOST_DIMENSIONS) {
        if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
            || parser.getLongValue() < 0) {
          break;
        }
        numbers.add(parser.getLongValue());
      }
    }
    if (parser.currentToken() != JsonToken.END_ARRAY) {
      throw problem(
          "tensor '%s' has a %s that is no list of at most %d sizes"
              .formatted(name, key, MOST_DIMENSIONS));
    }
    return List.copyOf(numbers);
  }

  private Entry checked(String name, String type, List<Long> shape, long begin, long end) {
    if (begin > end || end > dataBytes) {
      throw problem(
          "tensor '%s' has data_offsets %d to %d in %d bytes of data"
              .formatted(name, begin, end, dataBytes));
    }
    long bytes = elementBytes(name, type);
    try {
      for (long extent : shape) {
        bytes = Math.multiplyExact(bytes, extent);
      }
    } catch (ArithmeticException e) {
      throw new ModelFormatException(
          file, "tensor '%s' is impossibly large: %s".formatted(name, LlamaTensor.text(shape)), e);
    }
    if (bytes != end - begin) {
      throw problem(
          "tensor '%s' is %s %s, %d bytes, its data_offsets hold %d"
              .formatted(name, type, LlamaTensor.text(shape), bytes, end - begin));
    }
    return new Entry(name, type, shape, dataStart + begin, dataStart + end);
  }

  private long elementBytes(String name, String type) {
    return switch (type) {
      case "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3" -> 1;
      case "U16", "I16", "F16", "BF16" -> 2;
      case "U32", "I32", "F32" -> 4;
      case "U64", "I64", "F64" -> 8;
      default -> throw problem("tensor '%s' is stored as unknown type %s".formatted(name, type));
    };
  }

  private void refuseHolesAndOverlaps(Map<String, Entry> entries) {
    List<Entry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    long end = dataStart;
    for (Entry entry : sorted) {
      if (entry.begin() < end) {
        throw problem("tensor '" + entry.name() + "' overlaps another");
      }
      if (entry.begin() > end) {
        throw problem(
            "has %d bytes that are no tensor's before '%s'"
                .formatted(entry.begin() - end, entry.name()));
      }
      end = entry.end();
    }
    if (end != dataStart + dataBytes) {
      throw problem(
          "has %d bytes that are no tensor's at its end".formatted(dataStart + dataBytes - end));
    }
  }

  private ModelFormatException problem(String what) {
    return new ModelFormatException(file, what);
  }
}
