package org.json;

import java.util.StringJoiner;

public class JSONObject {
    private final StringJoiner members = new StringJoiner(",", "{", "}");

    public JSONObject put(String name, int value) throws JSONException {
        return add(name, String.valueOf(value));
    }

    public JSONObject put(String name, double value) throws JSONException {
        return add(name, String.valueOf(value));
    }

    /** Takes strings without quotes and backslashes, and arrays. */
    public JSONObject put(String name, Object value) throws JSONException {
        return add(name, value instanceof String ? "\"" + value + "\"" : value.toString());
    }

    private JSONObject add(String name, String value) {
        members.add("\"" + name + "\":" + value);
        return this;
    }

    @Override
    public String toString() {
        return members.toString();
    }
}
