package golden;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** Fills an object of any of RocketMQ's header and body classes with values that follow from the names of its fields. */
final class Filler {
    private Filler() {
    }

    static <T> T fill(Class<T> type) throws ReflectiveOperationException {
        T object = create(type);
        for (Field field : fields(type)) {
            field.setAccessible(true);
            field.set(object, value(field.getName(), field.getGenericType()));
        }
        return object;
    }

    /** By the constructor without parameters or, if there is none, by another one with zeros and nulls. */
    static <T> T create(Class<T> type) throws ReflectiveOperationException {
        for (Constructor<?> constructor : type.getDeclaredConstructors()) {
            if (constructor.getParameterCount() == 0) {
                constructor.setAccessible(true);
                return type.cast(constructor.newInstance());
            }
        }
        Constructor<?> constructor = type.getDeclaredConstructors()[0];
        constructor.setAccessible(true);
        Object[] arguments = new Object[constructor.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            // The element of a new array is the zero or null of its type.
            arguments[i] = Array.get(Array.newInstance(constructor.getParameterTypes()[i], 1), 0);
        }
        return type.cast(constructor.newInstance(arguments));
    }

    /** Fields of a class and of those it extends, as far as RocketMQ sends them and a header of its own has them. */
    static List<Field> fields(Class<?> type) {
        List<Field> fields = new ArrayList<>();
        for (Class<?> c = type; c != null && c != Object.class; c = c.getSuperclass()) {
            if (c.getSimpleName().matches("RpcRequestHeader|TopicRequestHeader|TopicQueueRequestHeader|RpcHeader")) {
                continue;
            }
            for (Field field : c.getDeclaredFields()) {
                int modifiers = field.getModifiers();
                if (!Modifier.isStatic(modifiers) && !Modifier.isTransient(modifiers)
                    && !Modifier.isFinal(modifiers) && !field.getName().startsWith("this$")) {
                    fields.add(field);
                }
            }
        }
        return fields;
    }

    static Object value(String name, Type type) throws ReflectiveOperationException {
        if (type instanceof ParameterizedType p) {
            return container(name, (Class<?>) p.getRawType(), p.getActualTypeArguments());
        }
        Class<?> c = (Class<?>) type;
        if (c == String.class) {
            // The one text that a header checks.
            return name.equals("topicFilterType") ? "SINGLE_TAG" : "v-" + name;
        }
        if (c == int.class || c == Integer.class) {
            // The one number that a header checks: 8 commits.
            return name.equals("commitOrRollback") ? 8 : 100 + name.length();
        }
        if (c == long.class || c == Long.class) {
            return 1_700_000_000_000L + name.length();
        }
        if (c == double.class || c == Double.class) {
            return 1.5;
        }
        if (c == boolean.class || c == Boolean.class) {
            return true;
        }
        if (c == AtomicLong.class) {
            return new AtomicLong(name.length());
        }
        if (c == Properties.class) {
            Properties properties = new Properties();
            properties.put(name + "Key", "v-" + name);
            return properties;
        }
        if (c.isEnum()) {
            Object[] constants = c.getEnumConstants();
            return constants[constants.length - 1];
        }
        if (c.isArray()) {
            Object array = Array.newInstance(c.getComponentType(), 1);
            Array.set(array, 0, value(name, c.getComponentType()));
            return array;
        }
        return fill(c);
    }

    private static Object container(String name, Class<?> raw, Type[] arguments) throws ReflectiveOperationException {
        if (Map.class.isAssignableFrom(raw)) {
            Map<Object, Object> map = raw == TreeMap.class ? new TreeMap<>()
                : raw == HashMap.class || raw == Map.class ? new HashMap<>() : new ConcurrentHashMap<>();
            map.put(value(name + "Key", arguments[0]), value(name + "Value", arguments[1]));
            return map;
        }
        Collection<Object> collection = Set.class.isAssignableFrom(raw)
            ? raw == TreeSet.class ? new TreeSet<>() : new HashSet<>() : new ArrayList<>();
        collection.add(value(name + "Item", arguments[0]));
        return collection;
    }
}
