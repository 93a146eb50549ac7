package org.lethe.report;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.VectorGraphicsEncoder.VectorGraphicsFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Lines over steps, as SVG. */
final class Plot {
  private final XYChart chart;

  /** A line: y at each x. */
  record Line(String name, List<Double> x, List<Double> y) {}

  Plot(String title, String xTitle, String yTitle, List<Line> lines) {
    chart =
        new XYChartBuilder()
            .width(720)
            .height(360)
            .title(title)
            .xAxisTitle(xTitle)
            .yAxisTitle(yTitle)
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setChartBackgroundColor(java.awt.Color.WHITE);
    chart.getStyler().setPlotBorderVisible(false);
    for (Line line : lines) {
      chart.addSeries(line.name(), line.x(), line.y()).setMarker(SeriesMarkers.NONE);
    }
  }

  /** The plot as an {@code <svg>} element. */
  String svg() {
    var bytes = new ByteArrayOutputStream();
    try {
      VectorGraphicsEncoder.saveVectorGraphic(chart, bytes, VectorGraphicsFormat.SVG);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    String svg = bytes.toString(StandardCharsets.UTF_8);
    return svg.substring(svg.indexOf("<svg"));
  }
}
