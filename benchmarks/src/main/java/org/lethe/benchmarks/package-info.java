/** JMH benchmarks: whole steps of a model. */
@NullMarked
package org.lethe.benchmarks;

import org.jspecify.annotations.NullMarked;
