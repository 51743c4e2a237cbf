#version 330
// material: 0 skin, 1 eye, 2 teeth, 3 tongue, 4 hair, brows and lashes (texture with alpha)
uniform int material;
uniform sampler2D albedo;
uniform sampler2D lip_mask;
uniform bool textured;
uniform vec3 tint;
uniform vec3 lip_tint;
uniform mat3 turn;
uniform vec3 key_direction;
uniform vec3 key_colour;
uniform vec3 fill_direction;
uniform vec3 fill_colour;
uniform vec3 sky_colour;
uniform vec3 ground_colour;
uniform float gloss;
uniform float grain;
uniform vec3 iris_colour;
const int STROKES = 56;
uniform vec4 stroke_ends[STROKES];   // x0 y0 x1 y1 on the base mesh
uniform vec3 stroke_shape[STROKES];  // width, depth of the groove, darkening
uniform vec4 stroke_colour[STROKES]; // colour it darkens towards; w = 1: hair (brows, beard), 0: a line in the skin
uniform int strokes;
in vec3 v_view;
in vec3 v_normal;
in vec2 v_texture;
in vec3 v_rest;
out vec4 colour;

float hash(vec2 p) {
    p = fract(p * vec2(123.34, 456.21));
    p += dot(p, p + 45.32);
    return fract(p.x * p.y);
}

float noise(vec2 p) {
    vec2 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x), mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}

vec3 lit(vec3 base, vec3 n, float shine) {
    vec3 to_eye = normalize(-v_view);
    float key = max((dot(n, key_direction) + 0.18) / 1.18, 0.0);
    float fill = max((dot(n, fill_direction) + 0.25) / 1.25, 0.0);
    vec3 ambient = mix(ground_colour, sky_colour, n.y * 0.5 + 0.5);
    vec3 half_way = normalize(key_direction + to_eye);
    float spark = pow(max(dot(n, half_way), 0.0), material == 1 ? 180.0 : 24.0) * shine;
    float edge = pow(1.0 - max(dot(n, to_eye), 0.0), 4.0) * 0.12 * shine;
    return base * (key * key_colour + fill * fill_colour + ambient) + spark * key_colour + edge * sky_colour;
}

void skin(inout vec3 base, inout vec3 n) {
    vec2 slope = vec2(0.0);
    if (v_rest.z > 0.75) {
        for (int i = 0; i < strokes; ++i) {
            vec2 a = stroke_ends[i].xy, along = stroke_ends[i].zw - a;
            float t = clamp(dot(v_rest.xy - a, along) / max(dot(along, along), 1e-6), 0.0, 1.0);
            vec2 away = v_rest.xy - a - t * along;
            float taper = stroke_colour[i].w > 0.5 ? 1.0 - 0.45 * t : 1.0 - 0.6 * abs(2.0 * t - 1.0);
            float width = stroke_shape[i].x * (0.4 + 0.6 * taper);
            float g = exp(-dot(away, away) / (width * width)) * taper;
            slope += stroke_shape[i].y * g * 2.0 * away / width;
            float cover = stroke_shape[i].z * g;
            if (stroke_colour[i].w > 0.5) cover *= 0.55 + 0.9 * noise(v_rest.xy * vec2(70.0, 35.0) + float(i));
            base = mix(base, stroke_colour[i].rgb * (stroke_colour[i].w > 0.5 ? vec3(1.0) : base), clamp(cover, 0.0, 1.0));
        }
    }
    n = normalize(n - turn * vec3(slope, 0.0));
}

void main() {
    vec3 n = normalize(v_normal);
    vec4 picture = texture(albedo, v_texture);
    float alpha = 1.0;
    vec3 base;
    float shine = gloss;
    if (material == 0) {
        base = textured ? picture.rgb * tint : tint;
        float lips = texture(lip_mask, v_texture).r;
        base = mix(base, base * lip_tint, lips);
        shine *= 1.0 + lips;
        base *= 1.0 + grain * (noise(v_rest.xy * 60.0) + 0.6 * noise(v_rest.xy * 19.0) - 0.8);
        bool inside = v_rest.z < 1.30 && abs(v_rest.x) < 0.3 && v_rest.y > 6.33 && v_rest.y < 6.86 && v_rest.z > 0.5;
        if (inside) {
            base = vec3(0.35, 0.12, 0.1) * smoothstep(0.8, 1.35, v_rest.z) * 0.5;
            shine = 0.0;
        } else {
            skin(base, n);
        }
    } else if (material == 1) {
        vec3 out_of = normalize(v_rest);
        float angle = acos(clamp(out_of.z, -1.0, 1.0));
        float turned = atan(out_of.y, out_of.x);
        vec3 white = vec3(0.60, 0.56, 0.53) - 0.10 * noise(vec2(turned * 9.0, angle * 14.0)) * vec3(0.4, 1.0, 1.0);
        vec3 iris = iris_colour * (0.55 + 0.7 * noise(vec2(turned * 22.0, angle * 6.0)));
        iris *= mix(1.25, 0.45, smoothstep(0.30, 0.50, angle));
        base = mix(iris, white, smoothstep(0.47, 0.54, angle));
        base = mix(vec3(0.015), base, smoothstep(0.17, 0.22, angle));
        // The lids shade the ball.
        base *= 0.55 + 0.45 * smoothstep(0.75, 0.1, abs(n.y + 0.1));
        shine = 0.55;
    } else if (material == 2) {
        float lines = smoothstep(0.0, 0.22, abs(fract(v_rest.x * 11.0) - 0.5));
        float gum = smoothstep(0.0, 0.04, abs(v_rest.y - 6.655) - 0.105);
        base = mix(vec3(0.84, 0.80, 0.72) * (0.72 + 0.28 * lines), vec3(0.62, 0.30, 0.28), gum);
        base *= smoothstep(0.95, 1.50, v_rest.z) * tint;
        shine = 0.25;
    } else if (material == 3) {
        base = vec3(0.62, 0.28, 0.27) * smoothstep(0.5, 1.40, v_rest.z);
        shine = 0.15;
    } else {
        alpha = picture.a;
        if (alpha < 0.15) discard;
        float level = dot(picture.rgb, vec3(0.35, 0.45, 0.2));
        base = tint * (0.35 + 1.6 * level);
        if (dot(n, v_view) > 0.0) n = -n;
        shine *= 0.4;
    }
    vec3 light = lit(base, n, shine);
    light = light / (1.0 + 0.35 * light * light);  // roll the highlights off
    colour = vec4(pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2)) * alpha, alpha);
}
