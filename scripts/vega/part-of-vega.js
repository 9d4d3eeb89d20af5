// What Vega-Lite takes from the package vega, without the rest of it.
export {hasOwnProperty, isObject, isString, stringValue} from "vega-util";
