// Of Vega what Vega-Lite's charts need: without maps, force layouts, trees, word clouds and crossfilter.
import {extend} from "vega-util";
import {transforms} from "vega-dataflow";
import * as encode from "vega-encode";
import * as regression from "vega-regression";
import * as basic from "vega-transforms";
import * as view from "vega-view-transforms";
import * as voronoi from "vega-voronoi";

extend(transforms, basic, view, encode, regression, voronoi);

export {compile} from "vega-lite";
export {expressionInterpreter} from "vega-interpreter";
export {parse} from "vega-parser";
export {View} from "vega-view";
