#version 330
// Depth as the key light sees the head.
uniform mat3 turn;
uniform vec3 shift;
uniform vec3 centre;
uniform mat3 to_light;
uniform float reach;
in vec3 position;

void main() {
    vec3 place = to_light * (turn * position + shift - centre) / reach;
    gl_Position = vec4(place.xy, -place.z, 1.0);
}
